"""The columns of a table that a person names. It imports nothing heavy: the command line takes its options from here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mynah.core.errors import InputError


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns that a person names; "" for those that are found by their names."""

    text: str = ""
    author: str = ""
    time: str = ""

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> "TableColumns":
        """Convert the parameter of a pipeline. Raises InputError for an unknown key."""
        if unknown := set(record) - {"text", "author", "time"}:
            raise InputError(f"unknown column {min(unknown)[:40]!r}", "Name text, author or time.")
        return cls(**record)

    def require_table(self, forms: Collection[str]) -> None:
        """Check that there is a table to read.

        Args:
            forms: The sources' forms.

        Raises:
            InputError: A column is named, and no source is a table.
        """
        record = self.to_record()
        if record and not {"csv", "jsonl", "parquet"} & set(forms):
            role, name = next(iter(record.items()))
            raise InputError(
                f"--{role}-column {name[:40]!r} is for a table, and no source is one",
                "Leave it out, or name a CSV, JSONL or Parquet file.",
            )

    def to_record(self) -> dict[str, str]:
        """Return those that are named, as a parameter of a pipeline."""
        named = {"text": self.text, "author": self.author, "time": self.time}
        return {role: name for role, name in named.items() if name}
