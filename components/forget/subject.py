"""The author or bot to forget."""

import hashlib
from dataclasses import dataclass

from mynah.core.errors import InputError
from mynah.core.names import author_name, bot_name
from mynah.data.authors import author_key


@dataclass(frozen=True, slots=True)
class Subject:
    """The author ("@ann") or bot ("wren") to forget."""

    name: str
    is_author: bool

    @classmethod
    def parse(cls, text: str) -> "Subject":
        """Parse `@author` or a bot's name. Raises InputError for anything else."""
        if text.startswith("@"):
            if author_key(text) == "unknown":
                raise InputError(f"{text!r} names no author", "Write mynah forget @HANDLE for an author, or a bot's name.")
            return cls(author_name(text), True)
        return cls(bot_name(text), False)

    @property
    def key(self) -> str:
        """A digest of the subject, for file names."""
        return hashlib.sha256(f"{self.is_author} {author_key(self.name)}".encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"@{self.name}" if self.is_author else self.name
