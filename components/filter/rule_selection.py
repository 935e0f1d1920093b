"""Select the rules in force: `default`, with some switched on or off, or `huggingtweets`, the original's."""

import difflib
from dataclasses import dataclass

from mynah.core.errors import InputError

# Every rule of `default` with what it does; those of OFF must be switched on.
ON = {
    "retweets": "drops reposts",
    "manual-quotes": "drops posts that repeat another's by hand",
    "mojibake": "repairs letters that were decoded wrongly",
    "entities": "converts HTML entities to characters",
    "urls": "removes links",
    "mentions": "removes the @names at the start of a post",
    "controls": "removes control characters and halves of surrogate pairs",
    "end-token": "removes GPT-2's end token",
    "personal": "masks e-mail addresses and phone, account, card and other personal numbers",
    "automated": "drops posts that a program wrote",
    "short": "drops posts of fewer than three words",
    "duplicates": "drops posts that repeat an earlier one",
    "near-duplicates": "drops posts that nearly repeat an earlier one",
}
OFF = {
    "language": "drops posts that are not in their author's main language",
    "threads": "joins an author's replies to their own post into one text",
    "by-time": "holds out the newest tenth instead of a random tenth",
}
ANY_BASE = {"by-time"}  # switches that also apply to huggingtweets
BASES = ("huggingtweets", "default")


@dataclass(frozen=True, slots=True)
class Rules:
    """The base, huggingtweets or default, and the names of the rules in force (none for huggingtweets, which has its own)."""

    base: str
    on: frozenset[str]


def parse_rules(text: str) -> Rules:
    """Parse a selection of rules: `default`, `huggingtweets`, or `default,-near-duplicates,+language`.

    The last switch of a rule counts. Raises InputError for an unknown name, with the most similar known one.
    """
    base, *switches = [part.strip() for part in text.split(",")]
    if base not in BASES:
        raise InputError(f"unknown rules {base!r}", f"Use --rules {' or '.join(BASES)}.")
    on = set(ON) if base == "default" else set()
    for switch in switches:
        sign, name = switch[:1], switch[1:]
        known = {**ON, **OFF} if base == "default" else ANY_BASE
        if name not in known and (near := closest_rule(switch.lstrip("+-"))) not in known:
            raise InputError(
                f"huggingtweets are the original's rules, without {near}", f"Use --rules default,{sign or '+'}{near}."
            )
        if name not in known or sign not in ("+", "-"):
            near = closest_rule(switch.lstrip("+-"))
            raise InputError(
                f"there is no switch {switch!r} in the rules {text!r}",
                f"Did you mean {sign if sign in ('+', '-') else '+'}{near}? + switches on, - off; the rules are {', '.join((*ON, *OFF))}.",
            )
        (on.add if sign == "+" else on.discard)(name)
    return Rules(base, frozenset(on))


def closest_rule(name: str) -> str:
    """Return the name of the rule that is most similar to `name`."""
    return difflib.get_close_matches(name, [*ON, *OFF], 1, 0)[0]
