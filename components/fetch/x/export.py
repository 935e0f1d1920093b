"""Read the export of an X account since 2019: `data/manifest.js` lists the parts of `data/tweets.js`; long texts are in `data/note-tweet.js`.

Only these, `account.js`, `profile.js`, the profile picture and the list of posts to a circle, which are left out, are opened: direct messages,
phone numbers and deleted posts are beside them.
"""

import functools
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from components.fetch.archives.profile_picture import read_avatar
from components.fetch.archives.zip_folder import Archive
from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content, printable
from components.fetch.x.export_circle import CIRCLE_PART, CirclePosts
from components.fetch.x.export_edits import Edits, find_edits, last_versions
from components.fetch.x.export_json import DOWNLOAD_AGAIN, elements, identity, single_value, typed
from components.fetch.x.export_notes import read_notes
from components.fetch.x.export_tweets import Account, post_of
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import POSTS_FILE, Post

KIND = "x-export"
PART = re.compile(r"tweets?(?:-part([0-9]{1,9}))?\.js")
NOTE_PART = re.compile(r"note-tweet(?:-part([0-9]{1,9}))?\.js")
DATA_FOLDER = re.compile(r"(?:(?:[^/]+/){0,8}data/)?(?=[^/]+$)")
MAX_PARTS = 1000
MAX_PROFILE_BYTES = 1 << 20  # of account.js or profile.js, which have a few hundred
Advance = Callable[[int], None]


def read_export(archive: Archive, stem: str) -> Content:
    """Open an export.

    Args:
        archive: The export.
        stem: The file's name, which becomes the author's where the export names no handle.

    Returns:
        The export's content.

    Raises:
        InputError: It is not such an export, lacks a part that it lists, or contains invalid data.
    """
    data = _data_folder(archive)
    manifest = object_in(archive, f"{data}manifest.js")
    parts = _listed_parts(archive, data, manifest) or _numbered(archive, data, PART)
    if not parts:
        raise InputError(f"{archive.label}: has no tweets.js in {data or 'its top'}", "Download the archive from X again.")
    if len(parts) > MAX_PARTS:
        raise InputError(f"{archive.label}: has {len(parts)} parts of tweets; the limit is {MAX_PARTS}", DOWNLOAD_AGAIN)
    notes = _numbered(archive, data, NOTE_PART)[:MAX_PARTS]
    circle = _numbered(archive, data, CIRCLE_PART)[:MAX_PARTS]
    size = sum(archive.size(member) for member in (*parts, *parts, *notes, *circle))
    account, display_name, bio, picture = _profile(archive, data, manifest, stem)

    def posts(advance: Advance) -> Iterator[Post]:
        long_texts = (item for member in notes for item in elements_in(archive, member, advance))
        notes_by_time = read_notes(long_texts, archive.label)
        listed = (item for member in circle for item in elements_in(archive, member, advance))
        circle_posts, edits = CirclePosts(archive.label, listed if circle else None), Edits()
        for part in parts:
            with closing(counted(archive, part, advance)) as chunks:
                find_edits(chunks, f"{archive.label}, {part}", edits)
        conversions = (
            functools.partial(post_of, element, place, account, notes_by_time, KIND)
            for part in parts
            for place, element in elements_in(archive, part, advance)
        )
        all_posts = usable_posts(archive.label, conversions)
        yield from last_versions(circle_posts.leave_out(all_posts, edits), edits)
        circle_posts.report()

    return Content(KIND, "own-account", size, posts, account.author, display_name, bio, read_avatar(archive, data, picture))


def is_modern(archive: Archive) -> bool:
    """Return whether an archive is an export of this form."""
    return bool(_data_folders(archive))


def _data_folders(archive: Archive) -> set[str]:
    folders = set()
    for name in archive.names:
        match = DATA_FOLDER.match(name)
        if match and (name[match.end() :] == "manifest.js" or PART.fullmatch(name, match.end())):
            folders.add(match[0])
    return folders


def _data_folder(archive: Archive) -> str:
    """Return the prefix of the export's data files: "data/", "NAME/data/" where the export was repacked, maybe in several folders, or ""."""
    folders = _data_folders(archive)
    if "data/" in folders:
        return "data/"
    inner = sorted(folders - {""})
    if len(inner) > 1:
        raise InputError(
            f"{archive.label}: contains several exports ({', '.join(inner[:3])})", "Give each as a source of its own."
        )
    if not folders:
        raise _not_an_export(archive)
    return inner[0] if inner else ""


def _not_an_export(archive: Archive) -> InputError:
    if POSTS_FILE in archive.names:
        return InputError(f"{archive.label}: is a folder of posts, not an X export", "Name its posts.jsonl instead.")
    problem = f"{archive.label}: is not an X export: it has neither data/manifest.js nor data/tweets.js"
    return InputError(problem, "Name the zip that X sent under Settings, Your account, Download an archive of your data.")


def _listed_parts(archive: Archive, data: str, manifest: dict[str, Any]) -> list[str]:
    """Return the members that the manifest lists as parts of the tweets; an empty list where it lists none."""
    place = f"{archive.label}, {data}manifest.js"
    types = typed(manifest.get("dataTypes", {}), dict, "dataTypes", place)
    members: dict[str, None] = {}  # a set that keeps the order
    for key in ("tweets", "tweet"):
        files = typed(typed(types.get(key, {}), dict, f"dataTypes.{key}", place).get("files", []), list, "files", place)
        for file in files:
            name = typed(typed(file, dict, "an entry of files", place).get("fileName"), str, "fileName", place)
            folder, _, base = name.rpartition("/")
            if folder not in ("", "data") or not PART.fullmatch(base):
                raise InputError(
                    f"{place}: lists {printable(name)[:200]!r} as tweets, which is not a part of them", DOWNLOAD_AGAIN
                )
            members[data + base] = None
    missing = sorted(members.keys() - set(archive.names))
    if missing:
        problem = f"{place}: lists {missing[0]}, which does not exist"
        raise InputError(problem, "The archive is incomplete: download it from X again, or unpack it whole.")
    return list(members)


def _numbered(archive: Archive, data: str, pattern: re.Pattern[str]) -> list[str]:
    """Return the members of the data folder whose names match `pattern`, in the order of their part numbers."""
    members = []
    for name in archive.names:
        match = pattern.fullmatch(name.removeprefix(data)) if name.startswith(data) else None
        if match:
            members.append((int(match[1] or 0), name))
    return [name for _, name in sorted(members)]


def object_in(archive: Archive, member: str) -> dict[str, Any]:
    """Parse the object that a small file assigns; {} where the archive lacks it. Raises InputError for anything else."""
    if member not in archive.names:
        return {}
    place = f"{archive.label}, {member}"
    with closing(archive.chunks(member)) as chunks:
        return typed(single_value(chunks, place), dict, "the value", place)


def _first_element(archive: Archive, member: str, key: str) -> dict[str, Any]:
    """Parse the object under `key` of a small file's first element; {} where the archive lacks it. Raises InputError for a large file."""
    if member not in archive.names:
        return {}
    if (size := archive.size(member)) > MAX_PROFILE_BYTES:  # all its elements would be held at once
        problem = f"{archive.label}, {member}: has {size:,} bytes; the limit is {MAX_PROFILE_BYTES:,}"
        raise InputError(problem, DOWNLOAD_AGAIN)
    objects = [
        typed(typed(element, dict, "the element", place).get(key, {}), dict, key, place)
        for place, element in elements_in(archive, member)
    ]
    return objects[0] if objects else {}


def _profile(archive: Archive, data: str, manifest: dict[str, Any], stem: str) -> tuple[Account, str, str, str]:
    """Read the profile of the account.

    Args:
        archive: The export.
        data: Prefix of the export's data files.
        manifest: The parsed manifest.js.
        stem: The author's name where the export has no handle.

    Returns:
        Account, display name, bio and the profile picture's address; "" for what the export lacks.

    Raises:
        InputError: A file of the profile is damaged or too large.
    """
    place = f"{archive.label}, {data}manifest.js"
    user = typed(manifest.get("userInfo", {}), dict, "userInfo", place)
    account = _first_element(archive, f"{data}account.js", "account")
    profile = _first_element(archive, f"{data}profile.js", "profile")
    description = typed(profile.get("description") or {}, dict, "description", f"{archive.label}, {data}profile.js")
    handle = typed(user.get("userName") or account.get("username") or "", str, "the handle", place)
    name = user.get("displayName") or account.get("accountDisplayName") or ""
    number = identity(user.get("accountId") or account.get("accountId") or "", "the account's id", place)
    return (
        Account(author_name(handle or stem), number),
        printable(typed(name, str, "the display name", place)),
        printable(typed(description.get("bio") or "", str, "the bio", f"{archive.label}, {data}profile.js")),
        str(profile.get("avatarMediaUrl") or ""),  # a value of another type matches no file
    )


def elements_in(archive: Archive, member: str, advance: Advance = lambda _: None) -> Iterator[tuple[str, Any]]:
    """Yield the elements of a member; the member is closed at the end, and after an error.

    Args:
        archive: The export.
        member: The file.
        advance: Called with the number of bytes read.

    Yields:
        The place of an element, for messages, and the element.

    Raises:
        InputError: The member is damaged, or not a list of JSON.
    """
    with closing(counted(archive, member, advance)) as chunks:
        yield from elements(chunks, f"{archive.label}, {member}")


def counted(archive: Archive, member: str, advance: Advance) -> Generator[bytes, None, None]:
    """Yield the bytes of a member in chunks.

    Args:
        archive: The export.
        member: The file.
        advance: Called with the size of each chunk.

    Yields:
        The chunks.
    """
    with closing(archive.chunks(member)) as chunks:
        for chunk in chunks:
            yield chunk
            advance(len(chunk))
