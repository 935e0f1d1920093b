"""The profile picture of an X export: `profile.js` tells its address, and `profile_media` has it as `ACCOUNT-NAME.jpg`."""

import re

from components.avatars import MOST_BYTES
from components.errors import InputError
from components.events import say
from components.fetch.archives import PROFILE_MEDIA, Archive

SUFFIX = re.compile(r"_(?:normal|bigger|mini|x96|reasonably_small|[0-9]+x[0-9]+)$")  # X's names of smaller copies
MEMBER = re.compile(r"(?:[0-9]+-)?(?P<stem>[^/]+?)(?:\.[A-Za-z]{3,4})?")


def read_avatar(archive: Archive, data: str, address: str) -> bytes:
    """The file whose address profile.js tells; empty where the export has none (old ones), or one too large or damaged.

    `data` is the prefix of the export's data files. A warning tells what was left out: posts do not wait for a picture.
    """
    return read_picture(archive, _member(archive, f"{data}{PROFILE_MEDIA}/", address))


def read_picture(archive: Archive, member: str) -> bytes:
    """The file `member`; empty where there is none, or, with a warning, one too large or damaged."""
    if member not in archive.names:
        return b""
    try:
        size = archive.size(member)
        if size > MOST_BYTES:
            raise InputError(f"{archive.label}: the profile picture has {size:,} bytes", f"{MOST_BYTES:,} are read at most.")
        return b"".join(archive.chunks(member))
    except InputError as error:
        say(f"a profile picture is left out: {error}", "warning")
        return b""


def _member(archive: Archive, folder: str, address: str) -> str:
    """The member that holds the picture; "" where none does."""
    wanted = _stem(address.rpartition("/")[2])
    for name in archive.names:
        if wanted and name.startswith(folder) and _stem(name.removeprefix(folder)) == wanted:
            return name
    return ""


def _stem(name: str) -> str:
    """A file's name without the account's number before it, and without the size and the form after it."""
    match = MEMBER.fullmatch(name)
    return SUFFIX.sub("", match["stem"]) if match else ""
