"""Convert the rows of a table to posts, and report what could not be read or was assumed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import Any

from components.fetch import untrusted_json
from components.fetch.own_words import DELETED
from components.fetch.sources import printable
from components.fetch.tables.column_names import Role, flat, key_of, role_of
from components.fetch.tables.findings import Findings
from components.fetch.tables.ids import own_links, repaired, without_quotes
from components.fetch.tables.other_columns import OtherColumns
from components.fetch.tables.people import handle_of
from components.fetch.tables.row_kind import kind_of, referenced, tweet_kind
from components.fetch.tables.settings import Table
from components.fetch.tables.times import DateOrders, is_clock
from components.fetch.tables.values import (
    FIX,
    is_missing,
    is_nobody,
    mark,
    own_entities,
    says_nothing,
    shown,
    typed,
    was_decimal,
    whole,
)
from components.fetch.x.export_tweets import Account, client_of
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.data.authors import author_key
from mynah.data.posts import Kind, Post, versions_of

MAX_ID_CHARACTERS = 200
TWEETS_CSV = {"tweet_id", "timestamp", "text", "retweeted_status_id"}  # the columns of X's own tweets.csv (to 2019)
# What Mynah itself writes; older files have only the first seven fields.
POST_FIELDS = [field.name for field in fields_of(Post)]
REQUIRED_FIELDS, ALL_FIELDS = set(POST_FIELDS[:7]), set(POST_FIELDS)
MAX_PLANS = 1000  # rows of JSONL may all have other columns
STRICT_AUTHORS = {"author", "username", "screenname"}  # of other columns what is not text, such as a number, is passed over
WHOLE_TEXTS = {"extendedtweetfulltext", "notetweettext", "fulltext", "rawcontent"}

Row = Mapping[str, Any]
Fields = dict[Role, list[tuple[str, Any]]]


class RowReader:
    """Converts the rows of one table.

    Args:
        table: The table.
        reader: Post.source for rows that Mynah did not write: tweets-csv, csv, jsonl or parquet.
        rows: Yields all rows once more: only the dates of the whole table show whether 1/3/2021 is in January.
    """

    def __init__(self, table: Table, reader: str, rows: Callable[[], Iterable[Row]]) -> None:
        self.table, self.reader = table, reader
        self.findings = Findings(table.label)
        self.others = OtherColumns(table.settings.forgotten)
        self._rows = rows
        self._orders = DateOrders(lambda: (dict(self._fields(row).get(Role.TIME, ())) for row in rows()))
        self._named = {key_of(name): Role(role) for role, name in table.settings.columns.to_record().items()}
        self._seen: set[Role] = set()  # of the named columns
        self._plans: dict[tuple[str, ...], list[tuple[Role, str]]] = {}
        self._link_author = ""
        self._is_given = False  # whether a person named the author of rows that name none

    def choose_author(self) -> bool:
        """Return whether only the posts of the author whom a person named are to be kept: some row names its own.

        Where no row names an author, all posts are the named one's. The rows are read up to the first that names an author.
        """
        if not self.table.settings.author or self.table.is_export:
            return False
        for fields in map(self._fields, self._rows()):
            if any(handle_of(value) for _, value in fields.get(Role.AUTHOR, ())) or any(own_links(fields)):
                return True
        self.table = replace(self.table, account=Account(author_name(self.table.settings.author)))
        self._is_given = True
        return False

    def post(self, row: Row, place: str, number: int) -> Post:
        """Convert a row.

        Args:
            row: The values by column.
            place: File and line, for messages.
            number: The row's number, counted from 1.

        Returns:
            The post.

        Raises:
            InputError: A value has the wrong type; the message names `place`.
        """
        # Only in a file that Mynah wrote does `source` mean the reader of a post; elsewhere it is an app or a site.
        own = REQUIRED_FIELDS <= row.keys() <= ALL_FIELDS and isinstance(row["source"], str)
        fields = self._fields(row)
        text = self._text(fields, row, place)
        kind = tweet_kind(row) if self.reader == "tweets-csv" else kind_of(fields, text, place)
        reply_to = _bounded(printable(str(row.get("reply_to") or ""))) if own else self._reply_to(fields, place)
        own_id, author = self._identity(fields, place, number), self._author(fields, kind, place)
        answers_itself = kind is Kind.REPLY and any(
            author_key(value) == author_key(author)
            for _, value in fields.get(Role.ANSWERED, ())
            if isinstance(value, str) and value
        )
        client = _first(fields, Role.CLIENT)
        return Post(
            id=own_id,
            author=author,
            text=text,
            created_at=self._time(fields, place),
            kind=kind,
            language=untrusted_json.text(_first(fields, Role.LANGUAGE)),
            source=printable(str(row["source"])) if own else self.reader,
            entities=own_entities(row.get("entities"), text) if own else (),
            reply_to=reply_to,
            reply_to_self=row.get("reply_to_self") is True if own else answers_itself or self._answers_account(row),
            client=printable(str(row.get("client") or "")) if own else client_of(client),
            versions=versions_of(row.get("versions")) if own else (),
            edited_at=self._orders.parse("edited_at", row["edited_at"]) if own and row.get("edited_at") else None,
        )

    def finish(self) -> None:
        """Report what was found.

        Raises:
            InputError: A row named somebody who asked to be forgotten, a named column was in no row, or times cannot be read although only
                the newest posts are wanted.
        """
        self.others.require_consent()
        label, settings = self.table.label, self.table.settings
        missing = [role for role in self._named.values() if role not in self._seen]
        if missing:
            name = settings.columns.to_record()[missing[0]]
            raise InputError(f"{label}: no row has the column {name!r}", f"Name one of its columns with --{missing[0]}-column.")
        times = self.findings.unread_times
        if settings.needs_times and times.count:
            number = "1 time" if times.count == 1 else f"{times.count:,} times"
            raise InputError(
                f"{label}, {times.place}: {number} cannot be read ({times.value!r}), so that the newest posts cannot be told",
                "Write times as 2021-03-01T10:00:00Z, name another column with --time-column, or leave out --limit.",
            )
        for column, (value, order) in self._orders.shown.items():
            spelled = "/".join({"d": "day", "m": "month", "y": "year"}[letter] for letter in order)
            notify(f"{label}: the dates in {column!r}, such as {value!r}, are read as {spelled}")
        self.findings.report()
        without = self.findings.without_author
        if without.count:
            is_one = without.count == 1
            number = "1 post names" if is_one else f"{without.count:,} posts name"
            notify(
                f"{label}: {number} no author that is read, and count{'s' if is_one else ''} as @{self.table.account.author}'s, after the file's name"
            )
        self.others.report(label, self._named.values())

    def _fields(self, row: Row) -> Fields:
        """Return the columns that have a value by what they hold, the preferred ones first."""
        if any(isinstance(value, dict) for value in row.values()):
            row = dict(flat(row))
        columns = tuple(row)
        plan = self._plans.get(columns)
        if plan is None:
            plan = self._plan(columns)
            if len(self._plans) < MAX_PLANS:
                self._plans[columns] = plan
        fields: Fields = {}
        for role, name in plan:
            value = row[name]
            if not is_missing(value, role):
                fields.setdefault(role, []).append((name, value))
        return fields

    def _plan(self, columns: tuple[str, ...]) -> list[tuple[Role, str]]:
        """Return what the columns of a row hold, the preferred ones first. Most rows of a table have the same columns."""
        ranked = []
        for name in columns:
            role, rank = role_of(name)
            if self._named:
                role, rank = self._chosen(name, role, rank)
            ranked.append((rank, role, name))
        return [(role, name) for _, role, name in sorted(ranked, key=itemgetter(0))]

    def _chosen(self, name: str, role: Role, rank: int) -> tuple[Role, int]:
        """Return the role of a column where a person named some: no other column has the role of a named one."""
        named = self._named.get(key_of(name))
        if named:
            self._seen.add(named)
            return named, 0
        return (Role.OTHER, 0) if role in self._named.values() else (role, rank)

    def _text(self, fields: Fields, row: Row, place: str) -> str:
        found = fields.get(Role.TEXT, [])
        name, text = next(((name, value) for name, value in found if value and isinstance(value, str)), ("", None))
        if text is None:
            text = next((value for name, value in found if key_of(name) == "text" or Role.TEXT in self._named.values()), None)
            text = "" if text is None and any(value == "" for _, value in found) else text
        if text is None:
            names = ", ".join(untrusted_json.message_text(column)[:40] for column in list(row)[:20])
            other = f"; --text-column names another column, and the row has {names}" if names else ""
            raise InputError(f"{place}: text is missing, and should be text{other}", FIX)
        if key_of(name) not in WHOLE_TEXTS and any(mark(value) for _, value in fields.get(Role.TRUNCATED, ())):
            self.findings.add(self.findings.cut_texts, place)
        text = printable(typed(text, str, "text", place))
        if text in DELETED:
            raise InputError(f"{place}: the text is {text}, which Reddit leaves of a deleted one", FIX)
        return text

    def _identity(self, fields: Fields, place: str, number: int) -> str:
        found = [without_quotes(value) for _, value in fields.get(Role.ID, ())]
        links = own_links(fields)
        if not found:
            self.others.missing.add(Role.ID)
            return next((link[2] for link in links), f"row-{number}")
        if exact := repaired(found[0], [*found[1:], *(link[2] for link in links)]):
            self.findings.add(self.findings.restored_ids, place, found[0])
            return exact
        own_id = whole(found[0])
        if own_id is None:
            own_id = typed(found[0], str, "id", place)  # which raises the error
        if not own_id:
            self.findings.add(self.findings.lost_ids, place, found[0])
            return f"row-{number}"
        if was_decimal(found[0]):
            self.findings.add(self.findings.repaired_ids, place, found[0])
        if len(own_id) > MAX_ID_CHARACTERS:
            raise InputError(
                f"{place}: the id has {len(own_id)} characters; the limit is {MAX_ID_CHARACTERS}", "Shorten or remove it."
            )
        return own_id.strip() or f"row-{number}"

    def _author(self, fields: Fields, kind: Kind, place: str) -> str:
        self.others.look_at(fields, place)
        for name, value in fields.get(Role.AUTHOR, ()):
            is_strict = key_of(name) in STRICT_AUTHORS or Role.AUTHOR in self._named.values()
            author = handle_of(value)
            if author is None and is_strict:
                typed(value, str, "the author", place)  # which raises the error where it is no text
                raise InputError(f"{place}: the author is {shown(value)!r}, which names several people or none", FIX)
            if author and not is_nobody(author):
                return author_name(printable(author))
            self.others.note(name, Role.AUTHOR)
        if self.table.is_export:
            return self.table.account.author
        for link in own_links(fields):
            if kind is not Kind.REPOST:  # the link of a repost leads to the shared post
                self._link_author = link[1]
        if self._link_author:
            return author_name(self._link_author)
        self.others.missing.add(Role.AUTHOR)
        if not self._is_given:
            self.findings.add(self.findings.without_author, place)
        return self.table.account.author

    def _time(self, fields: Fields, place: str) -> datetime | None:
        found = fields.get(Role.TIME, [])
        clock = next((str(value) for _, value in found if is_clock(value)), "")
        for name, value in found:
            if clock and isinstance(value, str) and ":" not in value and (when := self._orders.parse(name, f"{value} {clock}")):
                return when
            if when := self._orders.parse(name, value):
                return when
        if found:
            self.findings.add(self.findings.unread_times, place, found[0][1])
        else:
            self.others.missing.add(Role.TIME)
        return None

    def _reply_to(self, fields: Fields, place: str) -> str:
        found = [without_quotes(value) for _, value in fields.get(Role.REPLY_TO, ()) if not says_nothing(value)]
        value = found[0] if found else without_quotes(referenced(fields, "replied_to"))
        number = repaired(value, found[1:]) or whole(value)
        if number == "" and value != "":
            self.findings.add(self.findings.lost_replies, place, value)
        return _bounded(number or "")

    def _answers_account(self, row: Row) -> bool:
        number = self.table.account.number
        return bool(number) and str(row.get("in_reply_to_user_id") or "") == number


def _first(fields: Fields, role: Role) -> Any:  # noqa: ANN401 - a cell has any type
    return next((value for _, value in fields.get(role, ())), None)


def _bounded(number: str) -> str:
    return number.strip() if len(number) <= MAX_ID_CHARACTERS else ""
