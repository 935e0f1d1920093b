"""Recognize posts that repeat somebody else's words by hand or by an app, as people did before there was a button, and after."""

import re

from components.filter.text_cleaning import AT, AT_SIGNS

OPENING = "“„«\uff02「『❝〝﹁﹃《〈\u276e"
CLOSING = '"”‟»\u203a\u2039❞〞`\u00b4'  # some languages open with these, too
APOSTROPHES = "'\u2018\u2019\u201a\u201b❛"
EITHER = CLOSING + APOSTROPHES
# X puts direction marks around names in right-to-left posts; other programs put what nobody sees between a mark and a name.
MARKS = r"[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]{0,2}"
BLANKS = rf"{MARKS}\s?{MARKS}"
NAME_AND_COLON = rf"{AT}\w[\w.@-]{{0,80}}{BLANKS}[:\uff1a]"
PATTERNS = (
    # "@ann: what she said" at the start; behind one's own words only with the colon, as X's apps quoted until 2015.
    rf"^\W{{0,3}}[\"”{OPENING}]{BLANKS}{AT}\w[\w.@]*[:\uff1a\s]",
    rf"[{OPENING}]{BLANKS}{NAME_AND_COLON}",
    # A mark behind a word closes a quotation, or is an apostrophe, and one between "No!" and a blank closes, too.
    rf"(?<![^\s([:,.!?…])[{EITHER}]{MARKS}{NAME_AND_COLON}",
    rf"(?<![^\s([:])[{EITHER}]{BLANKS}{NAME_AND_COLON}",
    # Text behind RT, MT (modified), PRT (partial) or QT (quoted), also before a quotation mark; "Butte, MT" is a place.
    rf"(?<![^\W_])(?:[PQ]?RT|R/T|Rt|rt|QT|(?<!, )MT)\s?[:\uff1a]?\s?[{OPENING}{EITHER}]?{BLANKS}{AT}\w",
    rf"[♻♺🔁🔃]\ufe0f?\s?[{OPENING}{EITHER}]?{BLANKS}{AT}\w",
    # Instagram's apps for it.
    rf"(?<!\w)(?:#?(?i:repost(?:ed)?)|#(?i:regram))\s(?:(?i:from|by|via)\s)?{AT}\w",
    r"^\W{0,3}RT\s?[:\uff1a](?=\s)",  # of a time before names were put there
)
MANUAL_QUOTE = re.compile("|".join(f"(?:{pattern})" for pattern in PATTERNS))
# What stands before each name that a pattern can match. Few texts have it, and to try all patterns at each character takes three times as long.
SIGN = rf"[{OPENING}{EITHER}:\uff1a♻♺🔁🔃\ufe0f\s\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
BEFORE_NAME = re.compile(
    rf"{AT}(?:(?<={SIGN}.)(?<!\s.)|(?<={SIGN}\s.)|(?<=T.)|(?<=[Rr]t.)|(?<=T\s.)|(?<=(?i:rt|st|om|by|ia|ed|am)\s.))", re.DOTALL
)


def is_manual_quote(text: str) -> bool:
    """Return whether a cleaned text repeats somebody else's words."""
    if "RT" not in text[:6] and not (("@" in text or AT_SIGNS[1] in text) and BEFORE_NAME.search(text)):
        return False
    return bool(MANUAL_QUOTE.search(text))
