"""Mend the texts of Meta's JSON: each byte of UTF-8 stands in it as a character of its own, `\\u00c3\\u00a9` for é."""


def mend(text: str) -> str:
    """Return `text` as it was written; as it is where it has other characters, or bytes that are no UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
