"""Read the data package that Discord sends on request: an account's own messages, in a folder for each channel.

`messages/c123/messages.json` (since 2024) or `messages.csv`, beside a `channel.json`; the package has nobody else's messages.
https://support.discord.com/hc/en-us/articles/360004957991. Besides these only `user.json` is opened, which names the account.
"""

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from components.fetch import untrusted_json
from components.fetch.archives.csv_records import csv_records
from components.fetch.archives.members import find_members, member_chunks, member_place
from components.fetch.archives.zip_folder import Archive
from components.fetch.own_words import without_quoted_lines
from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content
from components.fetch.x.export_json import elements, single_value
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.data.posts import Post

KIND = "discord-package"
CHANNEL = re.compile(r"((?:[^/]+/){0,8}c?[0-9]{1,20}/)messages\.(csv|json)", re.IGNORECASE)
USER = re.compile(r"(?:[^/]+/){0,8}user\.json", re.IGNORECASE)
PRIVATE_TYPES = ("1", "3", "DM", "GROUP_DM")  # https://docs.discord.com/developers/resources/channel#channel-object-channel-types
EMOJI = re.compile(r"<a?(:\w{1,40}:)[0-9]{1,20}>")
MARKUP = re.compile(r"<(?:[@#][!&]?|t:|/[\w -]{1,100}:|id:)\w{0,40}(?::\w)?>")  # people, channels, times and commands, by number
MAX_PROFILE_BYTES = 1 << 20
FIX = "Remove it, or request the package again."
Advance = Callable[[int], None]


def is_discord(archive: Archive) -> bool:
    """Return whether an archive has a channel's messages."""
    return any(CHANNEL.fullmatch(name) for name in archive.names)


def open_discord(archive: Archive, stem: str, author: str) -> Content:
    """Open a data package.

    Args:
        archive: The package.
        stem: The file's name, which becomes the author's where there is no other.
        author: The author's name where the package has none.

    Returns:
        The messages that have a text.

    Raises:
        InputError: A file is damaged.
    """
    channels = _channels(archive)
    user = next((user for member in find_members(archive, USER) if (user := _object(archive, member))), {})
    name = author_name(untrusted_json.text(user.get("username")) or author or stem)

    def posts(advance: Advance) -> Iterator[Post]:
        private = [0]
        conversions = (
            functools.partial(_post, row, place, name)
            for folder, member in channels.items()
            for place, row in _messages(archive, folder, member, advance, private)
        )
        yield from usable_posts(archive.label, conversions)
        if private[0]:
            fix = "To leave them out, remove the folders whose channel.json has the type DM or GROUP_DM."
            notify(f"{archive.label}: {private[0]:,} of the messages are from private conversations. {fix}", "warning")

    size = sum(map(archive.size, channels.values()))
    return Content(KIND, "own-account", size, posts, name, untrusted_json.text(user.get("global_name")))


def _channels(archive: Archive) -> dict[str, str]:
    """Return the file of messages of each channel's folder; of two the JSON."""
    matches = [match for name in sorted(archive.names) if (match := CHANNEL.fullmatch(name))]
    by_folder = {match[1]: match[0] for match in sorted(matches, key=lambda match: match[2].lower())}
    return dict(sorted(by_folder.items()))


def _object(archive: Archive, member: str) -> dict[str, Any]:
    """Parse a small file; {} where it is missing or large."""
    if member not in archive.names or archive.size(member) > MAX_PROFILE_BYTES:
        return {}
    with closing(archive.chunks(member)) as chunks:
        return untrusted_json.record(single_value(chunks, member_place(archive, member)))


def _messages(
    archive: Archive, folder: str, member: str, advance: Advance, private: list[int]
) -> Iterator[tuple[str, dict[str, Any] | InputError]]:
    """Yield the messages of a channel that have a text, by lower-cased field; add to `private` those of a private conversation."""
    is_private = str(_object(archive, f"{folder}channel.json").get("type")) in PRIVATE_TYPES
    for place, row in _rows(archive, member, advance):
        if isinstance(row, dict) and not untrusted_json.text(row.get("contents", "")).strip():
            continue  # a picture
        private[0] += is_private
        yield place, row


def _rows(archive: Archive, member: str, advance: Advance) -> Iterator[tuple[str, dict[str, Any] | InputError]]:
    if member.lower().endswith(".csv"):
        yield from csv_records(archive, member, advance)
        return
    with closing(member_chunks(archive, member, advance)) as chunks:
        for place, element in elements(chunks, member_place(archive, member)):
            if isinstance(element, dict):
                yield place, {key.lower(): value for key, value in element.items()}
            else:
                yield place, InputError(f"{place}: is not a message", FIX)


def _post(row: dict[str, Any] | InputError, place: str, author: str) -> Post:
    if isinstance(row, InputError):
        raise row
    number = str(row.get("id") or "").strip()
    if not re.fullmatch(r"[0-9]{1,20}", number):
        raise InputError(f"{place}: has no id", FIX)
    text = MARKUP.sub("", EMOJI.sub(r"\1", untrusted_json.text(row["contents"])))
    return Post(
        id=number,
        author=author,
        text=without_quoted_lines(text),
        created_at=untrusted_json.parse_time(row.get("timestamp")),
        source=KIND,
    )
