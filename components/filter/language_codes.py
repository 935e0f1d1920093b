"""Codes of languages: those that count, those that mean the same, and those of languages so close that they count as one."""

import re

# ISO 639-1. Nauru's is left out: "NA" is what R and spreadsheets write for no value.
TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi fj fo
fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg
li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg
sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
# Languages without two letters that the detector knows. Of others (eng, deu) it finds out by itself; "nan" is no value, and not Min Nan.
THREE_LETTERS = """
als arz ast azb bar bcl bpy bxr cbk ceb ckb diq dsb dty eml frr gom hif hsb ilo jbo krc lez lmo lrc mai mhr min mrj mwl myv mzn nah nap nds
new pam pfl pms pnb rue sah scn sco tyv vec vep vls war wuu xal xmf yue
"""
# Codes that mean the same: X's old ones, macrolanguages, and those of ISO 639-3 beside ISO 639-1's.
SAME = {
    "in": "id",
    "iw": "he",
    "ji": "yi",
    "nb": "no",
    "nn": "no",
    "fil": "tl",
    "mo": "ro",
    "cmn": "zh",
    "zsm": "ms",
    "arb": "ar",
}
# Languages so close that the detector takes posts of one for another, since a post is short: each group counts as one. ISO 639.
KIN = (
    {"no", "nb", "nn", "da"},
    {"hr", "sr", "bs", "sh", "cnr"},
    {"id", "ms", "min", "jv", "su"},
    {"cs", "sk"},
    {"pt", "gl"},
    {"es", "ast", "an"},
    {"zh", "yue", "wuu", "lzh"},
    {"de", "als", "gsw", "bar", "nds", "lb"},
    {"nl", "af", "li", "vls"},
    {"it", "scn", "lmo", "pms", "vec", "nap", "co"},
    {"ca", "oc"},
    {"en", "sco"},
    {"bg", "mk"},
    {"tl", "ceb", "war", "ilo", "pam", "bcl"},
    {"az", "azb"},
    {"fa", "mzn", "glk"},
    {"ur", "pnb", "skr"},
    {"hi", "bh", "mai", "bho"},
    {"ku", "ckb", "kmr"},
    {"arz", "ar", "ary"},
)
FAMILY = {code: min(codes) for codes in KIN for code in codes}
KNOWN = {*TWO_LETTERS.split(), *THREE_LETTERS.split(), *SAME, *FAMILY}
# BCP 47, or a locale: en, en-GB, zh_Hant, de_DE.UTF-8.
TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9_-]{1,40})?(?:[.@][a-z0-9-]{1,20})?")


def declared_language(text: str) -> str:
    """Return the language that a platform's code means, two or three letters; "" for what is no code, or one of no language (und, zxx, qme)."""
    tag = TAG.fullmatch(text.strip().lower())
    code = tag[1] if tag else ""
    return SAME.get(code, code) if code in KNOWN else ""
