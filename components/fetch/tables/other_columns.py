"""The columns of a table that are not read: those that look as if they should be are named, and who asked to be forgotten is found in all."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from components.fetch import untrusted_json
from components.fetch.tables.column_names import OTHER_PEOPLE, SAID, Role, resemblance
from components.fetch.tables.people import people_of
from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.registry.forgotten_authors import ForgottenAuthors

MAX_COLUMNS = 2000  # that are remembered: a JSONL file may have other ones in each line
MAX_SHOWN = 5
# Columns that name the people whom a post mentions, answers or shares, and the addresses in it.
OTHERS_NAMES = re.compile(rf"{OTHER_PEOPLE.pattern}|expanded|urls|links|entities|media|image|card")
TOPICS = re.compile(
    r"tags?\b|keyword|topic|categor|label|word"
)  # columns whose lists are of words, among which `wren` may be a bird
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
        is_list = not TOPICS.search(name.casefold())
        for person in people_of(value, is_list=is_list) if not self._refusal else ():
            try:
                self._forgotten.refuse(person, f"{place}, column {untrusted_json.message_text(name)[:40]!r}")
            except InputError as error:
                self._refusal = error
