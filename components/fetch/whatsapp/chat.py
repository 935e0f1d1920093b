"""Read one person's messages in a chat that WhatsApp exported as text, in a zip or by itself.

Whose messages are read is stated by a person; nobody else's become posts. https://faq.whatsapp.com/1180414079177245
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator

from components.fetch.archives.members import find_members, member_head, member_lines
from components.fetch.archives.zip_folder import Archive
from components.fetch.own_words import made_up_id, require_author
from components.fetch.sources import Content
from components.fetch.whatsapp.lines import DateOrder, messages, parse_line, time_of
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.data.posts import Post

KIND = "whatsapp-chat"
MEMBER = re.compile(r"(?:[^/]+/){0,8}[^/]{1,200}\.txt", re.IGNORECASE)
FIRST_LINES = 20  # among which a message of a person must be


def is_whatsapp(archive: Archive) -> bool:
    """Return whether an archive has a chat of WhatsApp."""
    return bool(_member(archive))


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
    member = _member(archive)
    names: Counter[str] = Counter()
    order = DateOrder()
    for line, text in messages(text for _, text in member_lines(archive, member)):
        names[line.sender] += bool(text)
        order.add(line.date)
    name = require_author(author, +names, f"{archive.label}: is a chat of WhatsApp")
    if not order.is_told:
        notify(
            f"{archive.label}: its dates do not tell whether the day or the month comes first, and are read with the day first",
            "warning",
        )

    def posts(advance: Callable[[int], None]) -> Iterator[Post]:
        for line, text in messages(text for _, text in member_lines(archive, member, advance)):
            if line.sender == name and text:
                when = time_of(line, order.is_month_first)
                yield Post(made_up_id(when, text), author_name(name), text, when, source=KIND)

    return Content(KIND, "", archive.size(member), posts, author_name(name), name)


def _member(archive: Archive) -> str:
    """Return the file of the chat; "" where there is none."""
    for name in find_members(archive, MEMBER)[:20]:
        lines = itertools.islice(member_head(archive, name).splitlines(), FIRST_LINES)
        if any(parsed.sender for line in lines if (parsed := parse_line(line))):
            return name
    return ""
