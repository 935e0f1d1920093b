"""How to read tables: what a person says about them, and what their readers need to know beside it."""

from dataclasses import dataclass, field

from components.fetch.tables.columns import TableColumns
from components.fetch.x.export_tweets import Account
from mynah.registry.forgotten_authors import ForgottenAuthors


@dataclass(frozen=True, slots=True)
class TableSettings:
    """How to read a table."""

    columns: TableColumns = field(default_factory=TableColumns)
    needs_times: bool = False  # only the newest posts are kept, so a time that cannot be read is an error
    forgotten: ForgottenAuthors = field(default_factory=ForgottenAuthors)
    author: str = (
        ""  # whose rows are read of a table of several authors, and who is the author of one that names none; "" for all
    )


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is being read."""

    label: str  # its name in messages
    account: Account  # the author of rows that name none
    settings: TableSettings = field(default_factory=TableSettings)
    is_export: bool = (
        False  # of one account, whose rows name no author: otherwise `account` is the file's name, which is reported
    )
