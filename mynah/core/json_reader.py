"""Read JSON that another step wrote, with errors that name the file and the key."""

import sys
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError
from mynah.core.files import read_json


def finite(value: object) -> float:
    """Return `value` as a float. Raises TypeError unless it is a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise TypeError(f"{str(value)[:40]!r} is not a finite number")


class JsonField:
    """A value in a JSON file that knows its key, so that a type error names file and key.

    Args:
        path: The file.
        made_by: The step that wrote it, for messages.
        value: The parsed value.
        key: Its key in the file, with dots and indices; "" for the whole file.
    """

    def __init__(self, path: Path, made_by: str, value: Any, key: str = "") -> None:  # noqa: ANN401 - JSON is any of its types
        self.path, self.made_by, self.value, self.key = path, made_by, value, key

    @classmethod
    def read(cls, path: Path, made_by: str) -> "JsonField":
        """Read a whole file. Raises InputError when it is missing or not JSON."""
        return cls(path, made_by, read_json(path, made_by))

    def __getitem__(self, key: str) -> "JsonField":
        value = self._as("an object", dict)
        if key not in value:
            raise self.wrong(f"has no {self._below(key)!r}")
        return JsonField(self.path, self.made_by, value[key], self._below(key))

    def get(self, key: str) -> "JsonField":
        """Return the value of a key that may be missing, then null."""
        return self[key] if key in self._as("an object", dict) else JsonField(self.path, self.made_by, None, self._below(key))

    def wrong(self, how: str) -> InputError:
        """Create the error for a file that differs from what its step writes."""
        return InputError(f"{self.path} {how}", f"Run `mynah {self.made_by}` again to rewrite it.")

    def list(self) -> "tuple[JsonField, ...]":
        """Return the items of a list."""
        items = self._as("a list", list)
        return tuple(JsonField(self.path, self.made_by, value, f"{self.key}[{index}]") for index, value in enumerate(items))

    def pairs(self) -> "tuple[tuple[str, JsonField], ...]":
        """Return the keys and values of an object, in the file's order."""
        return tuple((key, self[key]) for key in self._as("an object", dict))

    def text(self) -> str:
        """Return a string; "" for null."""
        return "" if self.value is None else str(self._as("a text", str))

    def flag(self) -> bool:
        """Return true or false."""
        return bool(self._as("true or false", bool))

    def count(self) -> int:
        """Return a whole number, at least 0."""
        value = int(self._as("a whole number", int))
        if value < 0:
            raise self.wrong(f"has {value} at {self.key!r}, which can't be negative")
        return value

    def number(self) -> float:
        """Return a finite number."""
        value = self._as("a number", int, float)
        try:
            return finite(value)
        except TypeError as error:
            raise self.wrong(f"has {str(value)[:40]} at {self.key!r}, where a finite number belongs") from error

    def maybe_number(self) -> float | None:
        """Return a finite number, or None for null."""
        return None if self.value is None else self.number()

    def _below(self, key: str) -> str:
        return f"{self.key}.{key}" if self.key else key

    def _as(self, what: str, *kinds: type) -> Any:  # noqa: ANN401 - the callers narrow it
        if not isinstance(self.value, kinds) or (isinstance(self.value, bool) and bool not in kinds):
            place = f" at {self.key!r}" if self.key else ""
            raise self.wrong(f"has {str(self.value)[:60]!r}{place}, where {what} belongs")
        return self.value
