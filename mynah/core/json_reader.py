"""JSON that another step wrote, read by its shape: what is wrong is named by file and key."""

import sys
from pathlib import Path
from typing import Any

from components.errors import InputError
from components.files import read_json


def finite(value: object) -> float:
    """`value` as a number. Raises TypeError when it is none, or not a finite one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise TypeError(f"{str(value)[:40]!r} is not a finite number")


class Field:
    """A value in a JSON file that knows its place, so that a wrong shape is named by file and key."""

    def __init__(self, path: Path, made_by: str, value: Any, key: str = "") -> None:  # noqa: ANN401 - JSON is any of its types
        self.path, self.made_by, self.value, self.key = path, made_by, value, key

    @classmethod
    def read(cls, path: Path, made_by: str) -> "Field":
        """The whole of a file. Raises InputError when it is missing or not JSON."""
        return cls(path, made_by, read_json(path, made_by))

    def __getitem__(self, key: str) -> "Field":
        value = self._as("an object", dict)
        if key not in value:
            raise self.wrong(f"has no {self._below(key)!r}")
        return Field(self.path, self.made_by, value[key], self._below(key))

    def get(self, key: str) -> "Field":
        """The value of a key that may be missing; then null."""
        return self[key] if key in self._as("an object", dict) else Field(self.path, self.made_by, None, self._below(key))

    def wrong(self, how: str) -> InputError:
        """The error that says how this file is not as its step writes it."""
        return InputError(f"{self.path} {how}", f"Run `mynah {self.made_by}` again to write it anew.")

    def list(self) -> "tuple[Field, ...]":
        """The items of a list."""
        items = self._as("a list", list)
        return tuple(Field(self.path, self.made_by, value, f"{self.key}[{place}]") for place, value in enumerate(items))

    def pairs(self) -> "tuple[tuple[str, Field], ...]":
        """The keys and values of an object, in the file's order."""
        return tuple((key, self[key]) for key in self._as("an object", dict))

    def text(self) -> str:
        """A string; null stands for an empty one."""
        return "" if self.value is None else str(self._as("a text", str))

    def flag(self) -> bool:
        """True or false."""
        return bool(self._as("true or false", bool))

    def count(self) -> int:
        """A whole number, 0 or more."""
        value = int(self._as("a whole number", int))
        if value < 0:
            raise self.wrong(f"has {value} at {self.key!r}, which can't be negative")
        return value

    def number(self) -> float:
        """A finite number."""
        value = self._as("a number", int, float)
        try:
            return finite(value)
        except TypeError as error:
            raise self.wrong(f"has {str(value)[:40]} at {self.key!r}, where a finite number belongs") from error

    def maybe_number(self) -> float | None:
        """A finite number, or None for null."""
        return None if self.value is None else self.number()

    def _below(self, key: str) -> str:
        return f"{self.key}.{key}" if self.key else key

    def _as(self, what: str, *kinds: type) -> Any:  # noqa: ANN401 - the callers narrow it
        if not isinstance(self.value, kinds) or (isinstance(self.value, bool) and bool not in kinds):
            place = f" at {self.key!r}" if self.key else ""
            raise self.wrong(f"has {str(self.value)[:60]!r}{place}, where {what} belongs")
        return self.value
