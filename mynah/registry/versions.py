"""Bots and their versions in the registry, and the errors for missing ones."""

import contextlib
import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mynah.core.errors import InputError

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
# A version is an int, as the registry counts them, and what refers to one is an int or the name of an alias. Text only at the edges:
# MLflow's client, tags, and KServe's protocols, where a model's version is a string.
VersionRef = int | str


def parse_version(text: str) -> VersionRef:
    """Return the number or the alias by which a person or a tag names a version."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def parse_bot(text: str) -> tuple[str, VersionRef]:
    """Return the bot and the version of NAME, NAME@ALIAS or NAME:VERSION; without either, the champion. Raises InputError for others."""
    found = re.fullmatch(r"([^@:]+)(?:@([^@:]+)|:(0|[1-9]\d{0,8}))?", text, re.ASCII)
    if not found:
        raise InputError(
            f"{text[:80]!r} names no bot",
            "Write NAME, NAME@ALIAS (champion, challenger, previous) or NAME:VERSION, such as NAME:3.",
        )
    return found[1], parse_version(found[3]) if found[3] else found[2] or CHAMPION


@dataclass(frozen=True, slots=True)
class BotVersion:
    """A version of a bot in the registry."""

    name: str
    version: int
    created_at: datetime
    tags: dict[str, str]
    run_id: str = ""
    source: str = ""  # models:/m-…, the logged model with its files

    @property
    def passed(self) -> bool:
        """Whether it passed the gate."""
        return self.tags.get("mynah.verdict") == "passed"

    @property
    def held_out_loss(self) -> float | None:
        """Nats per token on its own held-out posts; None where the tag has no finite number: anybody can write tags."""
        return self.number("mynah.held_out_loss")

    def number(self, tag: str) -> float | None:
        """Return the finite number in a tag, or None."""
        with contextlib.suppress(ValueError):
            value = float(self.tags.get(tag, ""))
            return value if math.isfinite(value) else None
        return None

    @property
    def model_id(self) -> str:
        """The id of the logged model with its files; "" where its source is something else."""
        return self.source.removeprefix("models:/") if self.source.startswith("models:/m-") else ""


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot with its versions, newest first, and its aliases with their version numbers."""

    name: str
    versions: Sequence[BotVersion]
    aliases: dict[str, int]
    tags: dict[str, str]

    @property
    def champion(self) -> BotVersion | None:
        """The version that serves."""
        return self.at(CHAMPION)

    def at(self, ref: VersionRef) -> BotVersion | None:
        """Return the version of a number, or that an alias points to; None where there is none."""
        number = self.aliases.get(ref) if isinstance(ref, str) else ref
        return next((version for version in self.versions if version.version == number), None)


def files_gone(version: BotVersion, where: str) -> InputError:
    """Create the error for a version whose files are gone."""
    return InputError(
        f"the files of {version.name} version {version.version} are gone from {where}",
        f"Train it again with `mynah run --name {version.name} …`, or promote another version; `mynah doctor` shows all.",
    )


def no_such_bot(name: str, known: Sequence[str]) -> InputError:
    """Create the error for a bot that does not exist."""
    similar = difflib.get_close_matches(name, known, 1)
    if similar:
        return InputError(f"there is no bot {name[:80]!r}", f"Did you mean {similar[0]!r}?")
    return InputError(
        f"there is no bot {name[:80]!r}", "See `mynah bots`, or train one with `mynah run --name NAME --from SOURCE`."
    )


def no_such_version(bot: Bot, selector: str) -> InputError:
    """Create the error for a version or alias that a bot does not have."""
    numbers = ", ".join(str(version.version) for version in bot.versions[:20]) or "none"
    return InputError(f"{bot.name} has no {selector}", f"Its versions: {numbers}. See `mynah show {bot.name}`.")
