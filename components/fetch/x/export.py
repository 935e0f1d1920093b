"""The export of an X account since 2019: `data/manifest.js` lists the parts of `data/tweets.js`; long texts lie in `data/note-tweet.js`.

Only these, `account.js`, `profile.js` and the profile picture are ever opened: direct messages, phone numbers, deleted posts and posts to
a circle lie beside them.
"""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from components.errors import InputError
from components.fetch.archives import Archive
from components.fetch.json_parts import MEND, elements, identity, single_value, typed
from components.fetch.profile_picture import read_avatar
from components.fetch.sources import Content, printable
from components.fetch.x_edits import Edits, find_edits, last_versions
from components.fetch.x_notes import read_notes
from components.fetch.x_tweets import Account, post_of
from components.names import author_name
from components.posts import Post

KIND = "x-export"
PART = re.compile(r"tweets?(?:-part([0-9]{1,9}))?\.js")
NOTE_PART = re.compile(r"note-tweet(?:-part([0-9]{1,9}))?\.js")
DATA_FOLDER = re.compile(r"(?:(?:[^/]+/)?data/)?(?=[^/]+$)")
MOST_PARTS = 1000
LONGEST_COMPANION = 1 << 20  # bytes of account.js or profile.js, which have a few hundred
Advance = Callable[[int], None]


def read_export(archive: Archive, stem: str) -> Content:
    """What the export in `archive` holds. Its author is the account's handle, or else made from the file's name `stem`.

    Raises InputError when it is no such export, lacks a part that it lists, or holds something else than it should.
    """
    data = _data_folder(archive)
    manifest = object_in(archive, f"{data}manifest.js")
    parts = _listed_parts(archive, data, manifest) or _numbered(archive, data, PART)
    if not parts:
        raise InputError(f"{archive.label}: has no tweets.js in {data or 'its top'}", "Download the archive from X again.")
    if len(parts) > MOST_PARTS:
        raise InputError(f"{archive.label}: has {len(parts)} parts of tweets, and {MOST_PARTS} are read at most", MEND)
    notes = _numbered(archive, data, NOTE_PART)[:MOST_PARTS]
    size = sum(archive.size(member) for member in (*parts, *parts, *notes))
    account, display_name, bio, picture = _profile(archive, data, manifest, stem)

    def posts(advance: Advance) -> Iterator[Post]:
        known = read_notes(item for member in notes for item in elements_in(archive, member, advance))
        edits: Edits = {}
        for part in parts:
            with closing(counted(archive, part, advance)) as chunks:
                find_edits(chunks, f"{archive.label}, {part}", edits)
        found = (
            post_of(element, place, account, known, KIND)
            for part in parts
            for place, element in elements_in(archive, part, advance)
        )
        yield from last_versions(found, edits)

    return Content(KIND, "own-account", size, posts, account.author, display_name, bio, read_avatar(archive, data, picture))


def is_modern(archive: Archive) -> bool:
    """Whether an archive is an export of this form."""
    return bool(_data_folders(archive))


def _data_folders(archive: Archive) -> set[str]:
    found = set()
    for name in archive.names:
        match = DATA_FOLDER.match(name)
        if match and (name[match.end() :] == "manifest.js" or PART.fullmatch(name, match.end())):
            found.add(match[0])
    return found


def _data_folder(archive: Archive) -> str:
    """The prefix of the export's data files: "data/", or "NAME/data/" where the export was packed anew, or ""."""
    found = _data_folders(archive)
    if "data/" in found:
        return "data/"
    inner = sorted(found - {""})
    if len(inner) > 1:
        raise InputError(f"{archive.label}: holds several exports ({', '.join(inner[:3])})", "Give each as a source of its own.")
    if not found:
        raise _not_an_export(archive)
    return inner[0] if inner else ""


def _not_an_export(archive: Archive) -> InputError:
    if "posts.jsonl" in archive.names:
        return InputError(f"{archive.label}: is a folder of posts, not an X export", "Name its posts.jsonl instead.")
    problem = f"{archive.label}: is not an X export: it has neither data/manifest.js nor data/tweets.js"
    return InputError(problem, "Name the zip that X sent under Settings, Your account, Download an archive of your data.")


def _listed_parts(archive: Archive, data: str, manifest: dict[str, Any]) -> list[str]:
    """The members that the manifest lists as parts of the tweets; none where it lists none."""
    place = f"{archive.label}, {data}manifest.js"
    types = typed(manifest.get("dataTypes", {}), dict, "dataTypes", place)
    members: dict[str, None] = {}  # a set that keeps the order
    for key in ("tweets", "tweet"):
        files = typed(typed(types.get(key, {}), dict, f"dataTypes.{key}", place).get("files", []), list, "files", place)
        for file in files:
            name = typed(typed(file, dict, "an entry of files", place).get("fileName"), str, "fileName", place)
            folder, _, base = name.rpartition("/")
            if folder not in ("", "data") or not PART.fullmatch(base):
                raise InputError(f"{place}: lists {printable(name)[:200]!r} as tweets, which is no part of them", MEND)
            members[data + base] = None
    missing = sorted(members.keys() - set(archive.names))
    if missing:
        problem = f"{place}: lists {missing[0]}, which is not there"
        raise InputError(problem, "The archive is incomplete: download it from X again, or unpack it whole.")
    return list(members)


def _numbered(archive: Archive, data: str, pattern: re.Pattern[str]) -> list[str]:
    """The members of the data folder whose names fit `pattern`, in the order of their part numbers."""
    found = []
    for name in archive.names:
        match = pattern.fullmatch(name.removeprefix(data)) if name.startswith(data) else None
        if match:
            found.append((int(match[1] or 0), name))
    return [name for _, name in sorted(found)]


def object_in(archive: Archive, member: str) -> dict[str, Any]:
    """The object that a small file assigns; {} where the archive lacks it. Raises InputError for anything else."""
    if member not in archive.names:
        return {}
    place = f"{archive.label}, {member}"
    with closing(archive.chunks(member)) as chunks:
        return typed(single_value(chunks, place), dict, "the value", place)


def _first_element(archive: Archive, member: str, key: str) -> dict[str, Any]:
    """The object under `key` of the first element of a small file; {} where the archive lacks it. Raises InputError for a large one."""
    if member not in archive.names:
        return {}
    if (size := archive.size(member)) > LONGEST_COMPANION:  # whose elements would all be held at once
        problem = f"{archive.label}, {member}: has {size:,} bytes, and {LONGEST_COMPANION:,} are read at most"
        raise InputError(problem, MEND)
    found = [
        typed(typed(element, dict, "the element", place).get(key, {}), dict, key, place)
        for place, element in elements_in(archive, member)
    ]
    return found[0] if found else {}


def _profile(archive: Archive, data: str, manifest: dict[str, Any], stem: str) -> tuple[Account, str, str, str]:
    """Account, display name, bio and the profile picture's address; "" for what the export does not say."""
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
        str(profile.get("avatarMediaUrl") or ""),  # of an odd shape it names no file
    )


def elements_in(archive: Archive, member: str, advance: Advance = lambda _: None) -> Iterator[tuple[str, Any]]:
    """The elements of a member, with their places; the member is closed at the end, also at a bad one."""
    with closing(counted(archive, member, advance)) as chunks:
        yield from elements(chunks, f"{archive.label}, {member}")


def counted(archive: Archive, member: str, advance: Advance) -> Generator[bytes, None, None]:
    """The chunks of a member; `advance` is told of each."""
    with closing(archive.chunks(member)) as chunks:
        for chunk in chunks:
            yield chunk
            advance(len(chunk))
