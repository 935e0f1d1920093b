"""How a request names a model: `wren` (who serves), `wren@challenger` (whom an alias points to), `wren:3` (a version)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from components.registry import CHAMPION
from serving.refusals import Refusal

# Letters in both cases, dots and underscores make no bot's name, but names of models elsewhere have them (gpt-3.5-turbo): who asks
# for one of those hears that it is not here. Whatever else is in a name is no name, and never reaches a registry or a disk.
ANY_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
SPLIT = re.compile(r"([@:])")
ALIAS = re.compile(r"[A-Za-z0-9_-]{1,100}")
VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: a bot, and an alias or a version of it; neither stands for whoever serves."""

    name: str
    alias: str = ""
    version: str = ""

    def __str__(self) -> str:
        return self.name + (f"@{self.alias}" if self.alias else "") + (f":{self.version}" if self.version else "")


def parse(text: str) -> Address:
    """Raises Refusal 400 for what is no address; the name may still be no bot's."""
    name, mark, rest = SPLIT.split(text, maxsplit=1) if SPLIT.search(text) else (text, "", "")
    if not ANY_NAME.fullmatch(name) or ".." in name:
        raise Refusal(400, f"{_shown(text)} is no model's name; a-z, 0-9 and inner hyphens make one, such as wren")
    if mark == "@" and not ALIAS.fullmatch(rest):
        raise Refusal(400, f"{_shown(text)} names no alias after the @; write {name}@challenger")
    if mark == ":" and not VERSION.fullmatch(rest):
        raise Refusal(400, f"{_shown(text)} names no version after the colon; write {name}:3")
    return Address(name, rest if mark == "@" else "", rest if mark == ":" else "")


def unknown_alias(name: str, alias: str, there: Iterable[str]) -> Refusal:
    """The refusal for an alias that a bot does not have; `alias` "" is a plain name without a champion."""
    has = ", ".join(f"{name}@{each}" for each in sorted(there)) or f"versions, such as {name}:1"
    return Refusal(404, f"{name} has no {alias or CHAMPION}; it has {has}")


def unknown_version(name: str, version: str, there: Iterable[str]) -> Refusal:
    """The refusal for a version that a bot does not have."""
    known = list(there)
    has = ", ".join(known[:10]) + (" …" if len(known) > 10 else "") if known else "none"
    return Refusal(404, f"{name} has no version {version[:20]}; it has {has}")


def _shown(text: str) -> str:
    return ascii(text[:80])
