"""Escape author text so that rendered Markdown shows it unchanged, without markup, links or mentions.

Names, bios, handles and samples are untrusted. They are escaped only here, and put on one line first, so that they cannot start a block.
"""

import re

# Bidirectional overrides reorder displayed text (CVE-2021-42574); invisible characters and tags hide text.
# The joiners U+200C and U+200D stay: Persian and emoji need them.
INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)

# A numeric reference cannot act as a structural symbol (CommonMark 0.31, section 2.5), including a table's pipe.
STRUCTURAL = re.compile(r"[&<>\\`*_\[\]{}|~$]|^[#+=-]|^\d{1,9}[.)](?=\s|$)")

# GitHub and the Hugging Face hub search for links, mentions, formulas and emoji names after unescaping, where a
# reference does not help. A word joiner is invisible, prevents a line break, and stops them: http:_//a, a_.b, @_name, :_octocat:.
JOINER = "\u2060"
LINKED = re.compile(r"(?<=:)(?=//)|(?<=\w)(?=\.[^\W\d])|(?<=[@#])(?=\w)|(?<=\$)(?=\$)|(?<=\\)(?=[(\[])|(?<=:)(?=[\w+-]+:)")


def clean(text: str, limit: int = 0) -> str:
    """Put `text` on one line without control, bidirectional and invisible characters; truncated with `…` past `limit` (0: no limit)."""
    plain = " ".join(INVISIBLE.sub("", re.sub(r"\s+", " ", text)).split())
    return plain[: limit - 1].rstrip() + "…" if limit and len(plain) > limit else plain


def unlinked(text: str, limit: int = 0) -> str:
    """Clean `text` such that no site turns it into links or mentions; truncated past `limit` characters, without joiners."""
    return LINKED.sub(JOINER, clean(text, limit))


def markdown(text: str, limit: int = 0) -> str:
    """Escape `text` for a Markdown paragraph, list item or table cell; truncated past `limit` characters."""
    return STRUCTURAL.sub(_references, unlinked(text, limit))


def code(text: str, limit: int = 0) -> str:
    """Format `text` as a code span, for what people copy (digests, versions, sources); not for a table, which splits at a pipe."""
    plain = clean(text, limit) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    edge = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{edge}{plain}{edge}{fence}"


def _references(symbols: re.Match[str]) -> str:
    return "".join(char if char.isdigit() else f"&#{ord(char)};" for char in symbols.group())
