"""Read the exports of Threads and Instagram, in JSON: an account's own posts and comments.

Meta documents no form; these are those of the exports since 2021, and of Instagram's before (`media.json`, `comments.json`). Both networks
come in one archive or in one each. Only the files of posts and comments and the profile's are opened: messages, likes, searches and what
others wrote are beside them.
"""

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from components.fetch import untrusted_json
from components.fetch.archives.members import find_members, member_chunks, member_head, member_place
from components.fetch.archives.zip_folder import Archive
from components.fetch.meta.escapes import mend
from components.fetch.own_words import made_up_id
from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content
from components.fetch.x.export_json import elements, elements_of_lists, single_value
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import Kind, Post

KIND = "meta-export"
# The lists of the files before 2021 that are read; beside them are stories and direct messages.
OLD_LISTS = re.compile(r'"(?:photos|videos|media_comments|live_comments)"[ \t\r\n]{0,50}:[ \t\r\n]{0,50}(?=\[)')
FOLDER, PART = r"(?:[^/]+/){0,8}", r"(?:_[0-9]{1,4})?\.json"
MEMBERS = {
    "threads": re.compile(rf"{FOLDER}threads_and_replies{PART}"),
    "instagram": re.compile(rf"(?:{FOLDER}(?:media|content)/)?(?:posts|reels){PART}|{FOLDER}media{PART}"),
    "comment": re.compile(rf"{FOLDER}(?:post_comments|reels_comments){PART}|{FOLDER}comments\.json"),
}
MARKS = re.compile(
    r'"(?:text_post_app_text_posts|creation_timestamp|comments_(?:media|reels)_comments|string_map_data|media_comments|live_comments|taken_at)"'
    r'|^\s{0,50}\[\s{0,50}\[\s{0,50}"[0-9]{4}-[0-9]{2}-'
)
OLD_PROFILE = re.compile(rf"{FOLDER}profile\.json")  # before 2021
PROFILE = re.compile(rf"{FOLDER}personal_information\.json")
ARCHIVE_NAME = re.compile(r"(?:instagram|threads)-([A-Za-z0-9._]{1,30})-[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
LIST = re.compile(r'[ \t\r\n]{0,100}\{[ \t\r\n]{0,100}"(\w{1,100})"[ \t\r\n]{0,100}:[ \t\r\n]{0,100}\[')
MAX_PROFILE_BYTES = 1 << 20
FIX = "Remove it, or download the export again, in JSON."
Advance = Callable[[int], None]


def is_meta(archive: Archive) -> bool:
    """Return whether an archive has posts or comments of Threads or Instagram in JSON."""
    return bool(_members(archive))


def open_meta(archive: Archive, stem: str, author: str) -> Content:
    """Open an export.

    Args:
        archive: The export.
        stem: The file's name, which has the author's where Meta named it.
        author: The author's name where the export has none.

    Returns:
        The posts and comments. Their ids are made of time and text, since the export has none.

    Raises:
        InputError: A file is damaged.
    """
    members = _members(archive)
    named = ARCHIVE_NAME.fullmatch(stem)
    profile = _profile(archive)
    name = author_name(profile.get("Username", "") or author or (named[1] if named else stem))

    def posts(advance: Advance) -> Iterator[Post]:
        conversions = (
            functools.partial(_post, element, place, network, name)
            for network, member in members
            for place, element in _elements(archive, member, advance)
            if _has_text(element)
        )
        yield from usable_posts(archive.label, conversions)

    size = sum(archive.size(member) for _, member in members)
    return Content(KIND, "own-account", size, posts, name, profile.get("Name", ""), profile.get("Bio", ""))


def _members(archive: Archive) -> list[tuple[str, str]]:
    """Return the files of posts and comments, each with its network, or "comment"."""
    named = ((kind, member) for kind, pattern in MEMBERS.items() for member in find_members(archive, pattern))
    return [(kind, member) for kind, member in named if MARKS.search(member_head(archive, member))]


def _profile(archive: Archive) -> dict[str, str]:
    """Return the values of the profile by their label, which is English in most exports; {} where the export has no profile."""
    for member in find_members(archive, PROFILE):
        if archive.size(member) <= MAX_PROFILE_BYTES:
            with closing(archive.chunks(member)) as chunks:
                value = untrusted_json.record(single_value(chunks, member_place(archive, member)))
            for user in untrusted_json.records(value.get("profile_user")):
                entries = untrusted_json.record(user.get("string_map_data"))
                texts = {key: untrusted_json.text(untrusted_json.record(entry).get("value")) for key, entry in entries.items()}
                return {mend(key): untrusted_json.text(mend(text)) for key, text in texts.items()}
    return _old_profile(archive)


def _old_profile(archive: Archive) -> dict[str, str]:
    """Return the same of a profile before 2021; {} where the export has none."""
    labels = {"Username": "username", "Name": "name", "Bio": "biography"}
    for member in find_members(archive, OLD_PROFILE):
        if archive.size(member) <= MAX_PROFILE_BYTES:
            with closing(archive.chunks(member)) as chunks:
                value = untrusted_json.record(single_value(chunks, member_place(archive, member)))
            if untrusted_json.text(value.get("username")):
                return {label: untrusted_json.text(mend(untrusted_json.text(value.get(key)))) for label, key in labels.items()}
    return {}


def _elements(archive: Archive, member: str, advance: Advance) -> Iterator[tuple[str, Any]]:
    """Yield the elements of a file's list: the whole file, the first value of its object, or several values in a file before 2021."""
    is_old = member.rpartition("/")[2].startswith(("media", "comments"))
    key = LIST.match(member_head(archive, member))
    with closing(member_chunks(archive, member, advance)) as chunks:
        if is_old and key:
            for _, place, element in elements_of_lists(chunks, member_place(archive, member), OLD_LISTS):
                yield place, element
            return
        yield from elements(chunks, member_place(archive, member), key[1] if key else "")


def _has_text(element: object) -> bool:
    """Return whether an element has a text, or a wrong shape: a picture without a caption is left out without a warning."""
    return not isinstance(element, dict | list) or bool(_text(element))


def _post(element: object, place: str, network: str, author: str) -> Post:
    if not isinstance(element, dict | list):
        raise InputError(f"{place}: is neither a post nor a comment", FIX)
    text, when = untrusted_json.text(mend(_text(element))), _time(element)
    return Post(
        id=f"{network}-{made_up_id(when, text)}",
        author=author,
        text=text,
        created_at=when,
        kind=Kind.REPLY if network == "comment" else Kind.ORIGINAL,
        source=KIND,
    )


def _text(element: dict[str, Any] | list[Any]) -> str:
    """Return the text of a post (`title`, its own or of its only picture) or comment; "" where it has none."""
    if isinstance(element, list):  # a comment before 2021: [time, text, whose post it is about]
        return untrusted_json.text(element[1]) if len(element) > 1 else ""
    items = (element, *untrusted_json.records(element.get("media")))
    titles = [untrusted_json.text(item.get(key)).strip() for item in items for key in ("title", "caption")]
    comment = _comment(element)
    return next(filter(None, titles), untrusted_json.text(comment[0].get("value")).strip() if comment else "")


def _comment(element: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the values of a comment: first the text, then whose post it is about, and the time, under labels in the account's language."""
    by_label = untrusted_json.record(element.get("string_map_data"))
    first = [by_label["Comment"]] if "Comment" in by_label else []
    return untrusted_json.records([*first, *by_label.values()]) + untrusted_json.records(element.get("string_list_data"))


def _time(element: dict[str, Any] | list[Any]) -> datetime | None:
    if isinstance(element, list):
        return untrusted_json.parse_time(element[0] if element else None)
    if when := untrusted_json.parse_time(element.get("taken_at")):
        return when
    found = [element, *untrusted_json.records(element.get("media")), *_comment(element)]
    seconds = (untrusted_json.number(item.get(key)) for item in found for key in ("creation_timestamp", "timestamp"))
    try:
        return next((datetime.fromtimestamp(second, UTC) for second in seconds if second > 0), None)
    except (OverflowError, ValueError, OSError):
        return None
