"""Addresses of models in requests: `wren` (the champion), `wren@challenger` (an alias), `wren:3` (a version)."""

import re
from dataclasses import dataclass

from serving.engine.errors import InvalidAddress

# Upper-case letters, dots and underscores are allowed, although no bot's name has them, so that a request for another service's model
# (gpt-3.5-turbo) is answered "not found". All other characters are rejected before a registry or a disk is accessed.
ANY_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
SPLIT = re.compile(r"([@:])")
# As MLflow has them (mlflow.utils.validation): word characters of any script and hyphens, 255 at most.
ALIAS = re.compile(r"[\w-]{1,255}")
VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
Key = tuple[str, str]  # a bot's name and version


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: a bot and an alias or a version of it; without both, the champion."""

    name: str
    alias: str = ""
    version: str = ""

    def __str__(self) -> str:
        return self.name + (f"@{self.alias}" if self.alias else "") + (f":{self.version}" if self.version else "")


def parse(text: str) -> Address:
    """Parse an address, whose bot may not exist.

    Raises:
        InvalidAddress: The text is not an address.
    """
    name, mark, rest = SPLIT.split(text, maxsplit=1) if SPLIT.search(text) else (text, "", "")
    if not ANY_NAME.fullmatch(name) or ".." in name:
        raise InvalidAddress(f"{_shown(text)} is not a model's name; a name has a-z, 0-9 and inner hyphens, such as wren")
    if mark == "@" and not ALIAS.fullmatch(rest):
        raise InvalidAddress(f"{_shown(text)} names no alias after the @; write {name}@challenger")
    if mark == ":" and not VERSION.fullmatch(rest):
        raise InvalidAddress(f"{_shown(text)} names no version after the colon; write {name}:3")
    return Address(name, rest if mark == "@" else "", rest if mark == ":" else "")


def _shown(text: str) -> str:
    return ascii(text[:80])
