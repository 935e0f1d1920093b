"""Author text made harmless: it reads the same in rendered Markdown, and is never markup, a link or a mention there.

Names, bios, handles and samples come from strangers. Escaping happens here and nowhere else, and the text is first put on one
line, so that it can start no block of its own.
"""

import re

# Bidirectional overrides reorder what a reader sees (CVE-2021-42574); invisible characters and tags hide text from the reader.
# The joiners U+200C and U+200D stay: Persian and emoji need them.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

# A numeric reference can't take the place of a structural symbol (CommonMark 0.31, section 2.5), a table's pipe included.
STRUCTURAL = re.compile(r"[&<>\\`*_\[\]{}|~$]|^[#+=-]|^\d{1,9}[.)](?=\s|$)")

# GitHub and the Hugging Face hub look for links, mentions, formulas and emoji names in the text after it is unescaped, where a
# reference is no help. A word joiner is invisible, allows no line break, and stops them: http:_//a, a_.b, @_name, :_octocat:.
JOINER = "\u2060"
LINKED = re.compile(r"(?<=:)(?=//)|(?<=\w)(?=\.[^\W\d])|(?<=[@#])(?=\w)|(?<=\$)(?=\$)|(?<=\\)(?=[(\[])|(?<=:)(?=[\w+-]+:)")


def clean(text: str, limit: int = 0) -> str:
    """`text` on one line, without control, bidirectional and invisible characters; cut with `…` past `limit` (0: no limit)."""
    plain = " ".join(UNSEEN.sub("", re.sub(r"\s+", " ", text)).split())
    return plain[: limit - 1].rstrip() + "…" if limit and len(plain) > limit else plain


def unlinked(text: str, limit: int = 0) -> str:
    """`text` as clean words that no site makes a link or a mention of; cut past `limit` characters, joiners not counted."""
    return LINKED.sub(JOINER, clean(text, limit))


def markdown(text: str, limit: int = 0) -> str:
    """`text` as plain words in Markdown, in a paragraph, a list item or a table's cell; cut past `limit` characters."""
    return STRUCTURAL.sub(_references, unlinked(text, limit))


def code(text: str, limit: int = 0) -> str:
    """`text` as a code span, for what people copy (digests, versions, sources); not for a table, which splits at a pipe."""
    plain = clean(text, limit) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    edge = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{edge}{plain}{edge}{fence}"


def _references(symbols: re.Match[str]) -> str:
    return "".join(char if char.isdigit() else f"&#{ord(char)};" for char in symbols.group())
