"""Read one person's messages in a chat, or in all chats, that Telegram Desktop exported as JSON (`result.json`).

An export of one chat is an object with `messages`; one of the account has such objects in `chats.list`. https://core.telegram.org/import-export.
Whose messages are read is stated by a person; nobody else's become posts, nor do forwarded ones and those that a bot wrote.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from components.fetch import untrusted_json
from components.fetch.archives.members import find_members, member_chunks, member_head, member_place
from components.fetch.archives.zip_folder import Archive
from components.fetch.own_words import choose_sender
from components.fetch.skipped_posts import usable_posts
from components.fetch.sources import Content
from components.fetch.x.export_json import elements_of_lists
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import Kind, Post

KIND = "telegram-chat"
MEMBER = re.compile(r"(?:[^/]+/){0,8}[^/]{1,100}\.json")
IS_EXPORT = re.compile(
    r'"chats"\s{0,40}:\s{0,40}\{|"messages"\s{0,40}:\s{0,40}\[\s{0,40}(?:\]|\{\s{0,40}"id"\s{0,40}:\s{0,40}-?[0-9]{1,20}\s{0,40},\s{0,40}"type")'
)
MAX_MEMBERS = 500  # files of JSON that are looked at
BLANK = r"[ \t\r\n]{0,30}"
# Telegram writes a chat's id directly before its messages, whose own ids count from 1 in each chat.
MESSAGES = re.compile(rf'(?:"id"{BLANK}:{BLANK}(-?[0-9]{{1,20}}){BLANK},{BLANK})?"messages"{BLANK}:{BLANK}(?=\[)')
ENTITY_KINDS = {"link": "url", "mention": "mention", "mention_name": "mention", "hashtag": "hashtag"}
OTHERS = ("forwarded_from", "forwarded_from_id", "via_bot")  # a message with one of these fields repeats another's
FIX = "Remove it, or export the chat again."


def is_telegram(archive: Archive) -> bool:
    """Return whether an archive has a chat of Telegram in JSON."""
    return bool(_members(archive))


def open_telegram(archive: Archive, author: str) -> Content:
    """Open an export.

    Args:
        archive: The export.
        author: Whose messages are read, by name or by Telegram's id.

    Returns:
        Their messages that have a text.

    Raises:
        InputError: No author is given, one who is not in it, or a name that several people have; the message lists those who are. Or a
            file is damaged.
    """
    members = _members(archive)
    senders: dict[str, Counter[str]] = {}  # by id: the messages by name, which people change
    for _, _, message in _messages(archive, members, lambda _: None):
        if (sender := _sender(message)) and _text_of(message)[0]:
            senders.setdefault(sender, Counter())[untrusted_json.text(message.get("from")) or sender] += 1
    known = _merge_names(senders)
    chosen = choose_sender(author, senders, f"{archive.label}: is an export of Telegram")
    name = senders[chosen].most_common(1)[0][0]

    def posts(advance: Callable[[int], None]) -> Iterator[Post]:
        conversions = (
            functools.partial(_post, chat, message, place, author_name(name))
            for chat, place, message in _messages(archive, members, advance)
            if known.get(sender := _sender(message), sender) == chosen and _text_of(message)[0]
        )
        yield from usable_posts(archive.label, conversions)

    return Content(KIND, "", sum(map(archive.size, members)), posts, author_name(name), name)


def _members(archive: Archive) -> list[str]:
    """Return the files of chats: Telegram writes one for all chats of an account, and people pack several chats together."""
    members = sorted(find_members(archive, MEMBER), key=lambda name: not name.endswith("result.json"))[:MAX_MEMBERS]
    return [name for name in members if IS_EXPORT.search(member_head(archive, name))]


def _messages(archive: Archive, members: Sequence[str], advance: Callable[[int], None]) -> Iterator[tuple[str, str, Any]]:
    """Yield the messages that people wrote, each with the id of its chat and its place; service messages are left out."""
    for member in members:
        with closing(member_chunks(archive, member, advance)) as chunks:
            for before, place, message in elements_of_lists(chunks, member_place(archive, member), MESSAGES):
                is_written = untrusted_json.record(message).get("type") == "message"
                if is_written and not any(field in message for field in OTHERS):
                    yield before[1] or "", place, message


def _sender(message: dict[str, Any]) -> str:
    """Return who wrote a message: the id, which is a number in exports before 2021, else the name; "" for nobody."""
    identity = message.get("from_id")
    if (number := untrusted_json.number(identity)) >= 0:
        return f"user{number}"
    return untrusted_json.text(identity) or untrusted_json.text(message.get("from"))


def _merge_names(senders: dict[str, Counter[str]]) -> dict[str, str]:
    """Count the messages that name their sender without an id to the one who has that name, and return the id by such names."""
    known: dict[str, str] = {}
    for name in [sender for sender, names in senders.items() if sender in names]:
        others = [sender for sender, names in senders.items() if sender != name and name in names]
        if len(others) == 1:
            senders[others[0]] += senders.pop(name)
            known[name] = others[0]
    return known


def _text_of(message: dict[str, Any]) -> tuple[str, list[tuple[int, int, str]]]:
    """Return the text, of which Telegram marks pieces, and the positions of links, mentions and hashtags. Quoted pieces are another's."""
    value = message.get("text")
    text, spans = "", []
    for piece in value if isinstance(value, list) else [value]:
        marked = untrusted_json.record(piece)
        words, kind = untrusted_json.text(marked.get("text") if marked else piece), marked.get("type")
        if kind == "blockquote":
            continue
        if isinstance(kind, str) and kind in ENTITY_KINDS:
            spans.append((len(text), len(text) + len(words), ENTITY_KINDS[kind]))
        text += words
    return text, spans


def _post(chat: str, message: dict[str, Any], place: str, author: str) -> Post:
    number = untrusted_json.number(message.get("id"))
    if number < 0:
        raise InputError(f"{place}: has no id", FIX)
    text, spans = _text_of(message)
    answered = untrusted_json.number(message.get("reply_to_message_id"))
    return Post(
        id=_identity(chat, number),
        author=author,
        text=text,
        created_at=_time(message, "date"),
        kind=Kind.REPLY if answered >= 0 else Kind.ORIGINAL,
        source=KIND,
        entities=untrusted_json.entities(spans, len(text)),
        reply_to=_identity(chat, answered) if answered >= 0 else "",
        edited_at=_time(message, "edited"),
    )


def _identity(chat: str, number: int) -> str:
    return f"{chat or 'chat'}-{number}"[:200]


def _time(message: dict[str, Any], name: str) -> datetime | None:
    """Return a time: by the seconds since 1970, else the exporting machine's clock, taken as UTC."""
    seconds = message.get(f"{name}_unixtime")
    try:
        if seconds and re.fullmatch(r"[0-9]{1,12}", str(seconds)):
            return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return untrusted_json.parse_time(message.get(name))
