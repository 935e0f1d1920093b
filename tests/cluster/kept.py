"""What a session that keeps its bot leaves for the next one, which goes on with the step that failed."""

import contextlib
import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster.asked import PREFIX

# Steps that are taken again by a session that goes on: they look that nothing else is there, and open the ways.
REPEATED = frozenset({"test_no_other_installation_is_overwritten", "test_the_servers_are_within_reach"})


@dataclass(slots=True)
class Kept:
    """A bot of the suite's own, its runs, and the steps that passed."""

    bot: str = field(default_factory=lambda: PREFIX + secrets.token_hex(4))
    bots: list[str] = field(default_factory=list)  # all that were submitted, with the bot itself
    runs: list[str] = field(default_factory=list)
    passed: dict[str, float] = field(default_factory=dict)  # step to seconds
    forgotten: list[str] = field(default_factory=list)
    made: list[list[str]] = field(default_factory=list)  # the arguments with which kubectl deletes what else was made
    objects: list[str] = field(default_factory=list)  # keys in the bucket

    @classmethod
    def read(cls, path: Path) -> "Kept":
        """What is kept at a path; a new bot where there is nothing, or nothing of ours."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, IndexError):
            kept = cls(**json.loads(path.read_text("utf-8")))
            names = [kept.bot, *kept.bots, *kept.objects, *(words[2] for words in kept.made)]
            if all(name.startswith(PREFIX) for name in names):  # nothing without it is ever deleted
                return kept
        return cls()

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1), "utf-8")

    def has_passed(self, step: str) -> bool:
        """Whether a session that goes on leaves this step out."""
        return step in self.passed and step not in REPEATED
