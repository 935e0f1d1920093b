"""What chats and forums mix into a person's texts: lines that quote others, by the sign `>` before them (Reddit, Discord)."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

from components.fetch import untrusted_json
from mynah.core.errors import InputError
from mynah.core.names import author_name

QUOTED_LINE = re.compile(r"^[ \t]{0,3}(?:>|&gt;).*(?:\n|$)", re.MULTILINE)
SHOWN_AUTHORS = 20
DELETED = {"[deleted]", "[removed]"}  # what Reddit leaves of a text


def without_quoted_lines(text: str) -> str:
    """Return `text` without the lines that quote others."""
    return QUOTED_LINE.sub("", text).strip() if ">" in text or "&gt;" in text else text.strip()


def made_up_id(when: datetime | None, text: str) -> str:
    """Return an id for a message of an export without ids, which is equal in every export that has the message."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{when:%Y%m%dT%H%M%S}-{digest}" if when else digest


def require_author(given: str, counts: Mapping[str, int], chat: str) -> str:
    """Return the author of a chat of several people whose messages are read.

    Args:
        given: The name that a person gave with --author; "" for none.
        counts: The number of messages by author.
        chat: The file and what it is, for messages.

    Returns:
        The name as the chat has it.

    Raises:
        InputError: No name was given, or one that the chat does not have; the message lists those that it has.
    """
    same = [name for name in counts if name.casefold() == given.strip().casefold()]
    alike = [name for name in counts if author_name(name).casefold() == author_name(given).casefold()]
    if given.strip() and (same or len(alike) == 1):
        return (same or alike)[0]
    raise unknown_author(given, counts, chat)


def unknown_author(given: str, counts: Mapping[str, int], chat: str) -> InputError:
    """Return the error for no author, or one that a chat does not have; it lists those whom the chat has.

    Args:
        given: The name that a person gave; "" for none.
        counts: The number of messages by author.
        chat: The file and what it is, for messages.

    Returns:
        The error.
    """
    found = sorted(counts, key=lambda name: (-counts[name], name))
    names = ", ".join(f"{untrusted_json.message_text(name)[:60]!r} ({counts[name]:,})" for name in found[:SHOWN_AUTHORS])
    names = (names or "nobody") + (f" and {len(found) - SHOWN_AUTHORS} more" if len(found) > SHOWN_AUTHORS else "")
    problem = f"has no messages of {untrusted_json.message_text(given)[:60]!r}" if given else "has messages of several people"
    fix = f"Name whose are read with `mynah fetch --author NAME`; nobody else's are. Their authors, with the number of messages: {names}."
    return InputError(f"{chat}, and {problem}", fix)


def choose_sender(given: str, senders: Mapping[str, Mapping[str, int]], chat: str) -> str:
    """Return the id of the one whose messages are read, of a chat that has an id of each sender.

    Args:
        given: The name or the id that a person gave with --author; "" for none.
        senders: By id: the number of messages by name.
        chat: The file and what it is, for messages.

    Returns:
        The id.

    Raises:
        InputError: None was given, one that the chat does not have, or a name that several people have; the message lists the ids.
    """
    wanted = given.strip()
    ids = [sender for sender, names in senders.items() if sender not in names]
    if by_id := next((sender for sender in ids if wanted and wanted in (sender, sender.removeprefix("user"))), ""):
        return by_id
    keys: tuple[Callable[[str], str], ...] = (str, str.casefold, lambda name: author_name(name).casefold())
    for key in keys:
        found = [sender for sender, names in senders.items() if wanted and key(wanted) in map(key, names)]
        if len(found) == 1:
            return found[0]
        if found:
            people = ", ".join(f"{sender[:40]} ({sum(senders[sender].values()):,})" for sender in found[:SHOWN_AUTHORS])
            problem = f"{chat}, and has {len(found)} people called {untrusted_json.message_text(wanted)[:60]!r}"
            raise InputError(
                problem, f"Name one by the id with `mynah fetch --author ID`. Their ids, with the number of messages: {people}."
            )
    first = {sender: max(names, key=lambda name: names[name]) for sender, names in senders.items()}
    shared = Counter(first.values())
    shown = {name if shared[name] == 1 else f"{name}, {sender}": sum(senders[sender].values()) for sender, name in first.items()}
    raise unknown_author(given, shown, chat)
