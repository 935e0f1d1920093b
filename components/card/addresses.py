"""Where a card's files are seen, when that is known: link previews need whole addresses."""

import re
import urllib.parse
from dataclasses import dataclass

from components.errors import InputError

PAGE, PICTURE = "predictions.html", "predictions.png"
LONGEST = 1000  # characters; browsers and X take 2,000 and more
SAFE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The share page and its picture; `page` is "" and `picture` a file's name where nobody knows where they will be."""

    page: str = ""
    picture: str = PICTURE

    @classmethod
    def of(cls, url: str) -> "Addresses":
        """From `url`, a folder's address, or the page's own, which ends in .html. Raises InputError for what is no such address."""
        if not url:
            return cls()
        check_url(url)
        if url.endswith((".html", ".htm")):
            return cls(url, urllib.parse.urljoin(url, PICTURE))
        folder = url.rstrip("/")
        return cls(f"{folder}/{PAGE}", f"{folder}/{PICTURE}")


def check_url(url: str) -> str:
    """`url`, when it is one that others can open. Raises InputError for one that is not, or that holds a password."""
    try:
        parsed = urllib.parse.urlsplit(url)
        usable = bool(parsed.hostname) and parsed.username is None and (parsed.port or 1) > 0
    except ValueError:  # a port that is no number, half an IPv6 address
        usable = False
    if not usable or len(url) > LONGEST or not SAFE.fullmatch(url):
        raise InputError(
            f"{url.rpartition('@')[2][:100]!r} is no address that a card can have",
            "Write https://HOST/FOLDER/, where its files will lie, without user, query and fragment.",
        )
    return url
