"""Recognize posts that repeat somebody else's words by hand or by an app, as people did before there was a button, and after."""

import re

from components.filter.text_cleaning import AT, AT_SIGNS

OPENING = "“„«\uff02「『"
EITHER = "\"”‟»\u203a'\u2018\u2019\u201a\u2039"  # also closes a quotation, and stands for an apostrophe
MARKS = r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]{0,2}"  # X puts them around names in right-to-left posts
BLANKS = rf"{MARKS}\s?{MARKS}"
PATTERNS = (
    # "@ann: what she said" at the start; behind one's own words only with the colon, as X's apps quoted until 2015.
    rf"^\W{{0,3}}[\"”{OPENING}]{BLANKS}{AT}\w[\w.@]*[:\uff1a\s]",
    rf"(?:[{OPENING}]{BLANKS}|(?<![^\s([:,.!?…])[{EITHER}]{MARKS}){AT}\w[\w.@-]{{0,80}}{BLANKS}[:\uff1a]",
    # Text behind RT, MT (modified), PRT (partial) or QT (quoted), also before a quotation mark; "Butte, MT" is a place.
    rf"(?<![^\W_])(?:P?RT|Rt|rt|QT|(?<!, )MT)\s?[:\uff1a]?\s?[{OPENING}{EITHER}]?{BLANKS}{AT}\w",
    rf"[♻🔁]\ufe0f?\s?[{OPENING}{EITHER}]?{BLANKS}{AT}\w",
    # Instagram's apps for it.
    rf"(?<!\w)(?:#?(?i:repost(?:ed)?)|#(?i:regram))\s(?:(?i:from|by|via)\s)?{AT}\w",
    r"^\W{0,3}RT\s?[:\uff1a](?=\s)",  # of a time before names were put there
)
MANUAL_QUOTE = re.compile("|".join(f"(?:{pattern})" for pattern in PATTERNS))


def is_manual_quote(text: str) -> bool:
    """Return whether a cleaned text repeats somebody else's words."""
    return ("@" in text or AT_SIGNS[1] in text or "RT" in text[:6]) and bool(MANUAL_QUOTE.search(text))
