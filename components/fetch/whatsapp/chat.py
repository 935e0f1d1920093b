"""Read one person's messages in a chat that WhatsApp exported as text, in a zip or by itself.

Whose messages are read is stated by a person; nobody else's become posts. https://faq.whatsapp.com/1180414079177245
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator

from components.fetch.archives.members import find_members, member_head, member_lines, member_place
from components.fetch.archives.zip_folder import Archive
from components.fetch.own_words import made_up_id, require_author
from components.fetch.sources import Content
from components.fetch.whatsapp.lines import DateOrder, messages, parse_line, time_of
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.data.posts import Post

KIND = "whatsapp-chat"
MEMBER = re.compile(r"(?:[^/]+/){0,8}[^/]{1,200}\.txt", re.IGNORECASE)
MAX_MEMBERS = 500  # texts that are looked at
FIRST_LINES = 20  # among which a message of a person must be


def is_whatsapp(archive: Archive) -> bool:
    """Return whether an archive has a chat of WhatsApp."""
    return bool(_members(archive))


def open_whatsapp(archive: Archive, author: str) -> Content:
    """Open a chat.

    Args:
        archive: The export.
        author: Whose messages are read, by the name in the chat.

    Returns:
        Their messages that have a text. Their ids are made of time and text, since the export has none.

    Raises:
        InputError: No author is given, or one who is not in the chat; the message lists those who are. Or the file is damaged.
    """
    members = _members(archive)
    names: Counter[str] = Counter()
    orders = {member: DateOrder() for member in members}  # of each chat: phones may have sent them in different languages
    for member, order in orders.items():
        for line, text in messages(text for _, text in member_lines(archive, member)):
            names[line.sender] += bool(text)
            order.add(line.date)
    name = require_author(author, +names, f"{archive.label}: is a chat of WhatsApp")
    for member, order in orders.items():
        if not order.is_told:
            place = member_place(archive, member) if len(members) > 1 else archive.label
            notify(
                f"{place}: its dates do not tell whether the day or the month comes first, and are read with the day first",
                "warning",
            )

    def posts(advance: Callable[[int], None]) -> Iterator[Post]:
        for member, order in orders.items():
            for line, text in messages(text for _, text in member_lines(archive, member, advance)):
                if line.sender == name and text:
                    when = time_of(line, order.is_month_first)
                    yield Post(made_up_id(when, text), author_name(name), text, when, source=KIND)

    return Content(KIND, "", sum(map(archive.size, members)), posts, author_name(name), name)


def _members(archive: Archive) -> list[str]:
    """Return the files of chats: people pack several together."""
    return [name for name in find_members(archive, MEMBER)[:MAX_MEMBERS] if _is_chat(member_head(archive, name))]


def _is_chat(head: str) -> bool:
    lines = itertools.islice(head.splitlines(), FIRST_LINES)
    return any(parsed.sender for line in lines if (parsed := parse_line(line)))
