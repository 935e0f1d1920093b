"""The columns of a table that are not read: those that look as if they should be are named, and who asked to be forgotten is found in all."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from components.fetch import untrusted_json
from components.fetch.tables.column_names import OTHER_PEOPLE, SAID, Role, resemblance
from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.registry.forgotten_authors import ForgottenAuthors

MAX_COLUMNS = 2000  # that are remembered: a JSONL file may have other ones in each line
MAX_SHOWN = 5
MAX_NAME_CHARACTERS = 100
# A person's address on X, Bluesky, or a server of the fediverse (https://HOST/@USER).
ADDRESS = re.compile(
    r"https?://(?:(?:www\.|mobile\.)?(?:twitter|x)\.com/|bsky\.app/profile/|([\w.-]{1,253})/@)([\w.-]{1,253})(?:[/?#].*)?", re.I
)
# Columns that name the people whom a post mentions, answers or shares, and the addresses in it.
OTHERS_NAMES = re.compile(rf"{OTHER_PEOPLE.pattern}|expanded|urls|links|entities|media|image|card")
NEEDS = {Role.AUTHOR: "--author-column", Role.TIME: "--time-column"}


class OtherColumns:
    """Looks at what is not read of a table.

    Args:
        forgotten: Who asked to be forgotten.
    """

    def __init__(self, forgotten: ForgottenAuthors) -> None:
        self.missing: set[Role] = set()  # what a row lacks
        self._forgotten = forgotten
        self._looks_like: dict[str, Role | None] = {}
        self._refusal: InputError | None = None

    def look_at(self, fields: Mapping[Role, Sequence[tuple[str, Any]]], place: str) -> None:
        """Note the columns of a row, and whether one of them names somebody who asked to be forgotten.

        Args:
            fields: The row.
            place: File and line, for messages.
        """
        for name, value in fields.get(Role.OTHER, ()):
            self.see(name)
            if self._forgotten and not OTHERS_NAMES.search(name.casefold()):
                self._refuse(name, value, place)
        for name, value in fields.get(Role.AUTHOR, ()) if self._forgotten else ():
            self._refuse(name, value, place)

    def see(self, name: str) -> None:
        """Note that there is a column that is not read."""
        if name not in self._looks_like and len(self._looks_like) < MAX_COLUMNS:
            self._looks_like[name] = resemblance(name)

    def note(self, name: str, role: Role) -> None:
        """Note that a column seems to hold `role` and was passed over."""
        self._looks_like[name] = role

    def report(self, label: str, named: Collection[Role]) -> None:
        """Name the columns that look as if they should be read.

        Args:
            label: The table's name in messages.
            named: What a person named columns for.
        """
        for role, what in SAID.items():
            if role in named or (role is not Role.REPOST and role not in self.missing):
                continue
            columns = [untrusted_json.message_text(name)[:40] for name, alike in self._looks_like.items() if alike is role]
            if columns:
                more = f" and {len(columns) - MAX_SHOWN} more" if len(columns) > MAX_SHOWN else ""
                is_one = len(columns) == 1
                fix = f"; if it is, name it with {NEEDS[role]}" if role in NEEDS else ""
                notify(
                    f"{label}: the column{'' if is_one else 's'} {', '.join(map(repr, columns[:MAX_SHOWN]))}{more}, which "
                    f"look{'s' if is_one else ''} like {what}, {'is' if is_one else 'are'} not read{fix}",
                    "warning",
                )

    def require_consent(self) -> None:
        """Raise InputError where a row named somebody who asked to be forgotten: it is no fault of that row, but refuses the table."""
        if self._refusal:
            raise self._refusal

    def _refuse(self, name: str, value: object, place: str) -> None:
        for person in _people(value) if not self._refusal else ():
            try:
                self._forgotten.refuse(person.lstrip("@"), f"{place}, column {untrusted_json.message_text(name)[:40]!r}")
            except InputError as error:
                self._refusal = error


def _people(value: object) -> Iterator[str]:
    """Yield what may be a handle in a cell: all of it, an entry of its list, or the account in an address."""
    for text in value[:50] if isinstance(value, list) else [value]:
        if isinstance(text, str) and 0 < len(text.strip()) <= 300:
            plain = text.strip()
            match = ADDRESS.fullmatch(plain)
            if match:
                yield f"{match[2]}@{match[1]}" if match[1] else match[2]
            elif len(plain) <= MAX_NAME_CHARACTERS:
                yield plain
