"""The public URLs of a card's files, which link previews need."""

import re
import urllib.parse
from dataclasses import dataclass

from mynah.core.errors import InputError
from mynah.registry.card_files import PAGE_FILE, PICTURE_FILE

MAX_URL_LENGTH = 1000  # characters; browsers and X take 2,000 and more
SAFE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")


@dataclass(frozen=True, slots=True)
class CardUrls:
    """The URLs of the share page and its picture; `page` is "" and `picture` a file name when the address is unknown."""

    page: str = ""
    picture: str = PICTURE_FILE

    @classmethod
    def of(cls, url: str) -> "CardUrls":
        """Return the URLs for the address of a folder, or of the page itself, which ends in .html. Raises InputError when it is invalid."""
        if not url:
            return cls()
        check_url(url)
        if url.endswith((".html", ".htm")):
            return cls(url, urllib.parse.urljoin(url, PICTURE_FILE))
        folder = url.rstrip("/")
        return cls(f"{folder}/{PAGE_FILE}", f"{folder}/{PICTURE_FILE}")


def check_url(url: str) -> str:
    """Return a valid URL unchanged. Raises InputError for an invalid one, or one with a password."""
    try:
        parsed = urllib.parse.urlsplit(url)
        usable = bool(parsed.hostname) and parsed.username is None and (parsed.port or 1) > 0
    except ValueError:  # an invalid port or IPv6 address
        usable = False
    if not usable or len(url) > MAX_URL_LENGTH or not SAFE.fullmatch(url):
        raise InputError(
            f"{url.rpartition('@')[2][:100]!r} is not a valid address for a card",
            "Write https://HOST/FOLDER/, where its files will be, without user, query and fragment.",
        )
    return url
