"""Read the profile picture of an X export: `profile.js` names its address, and `profile_media` holds it as `ACCOUNT-NAME.jpg`."""

import re

from components.fetch.archives.zip_folder import PROFILE_MEDIA, Archive
from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.data.avatars import MAX_BYTES

SUFFIX = re.compile(r"_(?:normal|bigger|mini|x96|reasonably_small|[0-9]+x[0-9]+)$")  # X's names of smaller copies
MEMBER = re.compile(r"(?:[0-9]+-)?(?P<stem>[^/]+?)(?:\.[A-Za-z]{3,4})?")


def read_avatar(archive: Archive, data: str, address: str) -> bytes:
    """Return the profile picture whose address profile.js gives.

    Args:
        archive: The export.
        data: Prefix of the export's data files.
        address: The picture's address on X.

    Returns:
        The file's bytes; empty, with a warning, for a picture that is too large or damaged, and empty where the export has none
        (old exports). A bad picture never stops the import of posts.
    """
    return read_picture(archive, _member(archive, f"{data}{PROFILE_MEDIA}/", address))


def read_picture(archive: Archive, member: str) -> bytes:
    """Read a profile picture.

    Args:
        archive: The export.
        member: The picture's file in it.

    Returns:
        The file's bytes; empty where it does not exist, and empty, with a warning, where it is too large or damaged.
    """
    if member not in archive.names:
        return b""
    try:
        size = archive.size(member)
        if size > MAX_BYTES:
            raise InputError(f"{archive.label}: the profile picture has {size:,} bytes", f"{MAX_BYTES:,} are read at most.")
        return b"".join(archive.chunks(member))
    except InputError as error:
        notify(f"skipping a profile picture: {error}", "warning")
        return b""


def _member(archive: Archive, folder: str, address: str) -> str:
    """Return the name of the member that holds the picture; "" where there is none."""
    stem = _stem(address.rpartition("/")[2])
    for name in archive.names:
        if stem and name.startswith(folder) and _stem(name.removeprefix(folder)) == stem:
            return name
    return ""


def _stem(name: str) -> str:
    """Return a file's name without the account number in front and without the size and extension at the end."""
    match = MEMBER.fullmatch(name)
    return SUFFIX.sub("", match["stem"]) if match else ""
