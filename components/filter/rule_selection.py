"""Which rules are in force: `default`, with some switched, or `huggingtweets`, the original's."""

import difflib
from dataclasses import dataclass

from components.errors import InputError

# Every rule of `default` with what it does; the ones after the blank line are off until asked for.
ON = {
    "retweets": "drops reposts",
    "manual-quotes": "drops posts that repeat another's by hand",
    "mojibake": "mends letters that were decoded wrongly",
    "entities": "turns HTML's entities into characters",
    "urls": "takes links out",
    "mentions": "takes the @names out that a post begins with",
    "controls": "takes control characters and halves of characters out",
    "end-token": "takes GPT-2's end token out",
    "personal": "masks e-mail addresses and phone, account, card and other personal numbers",
    "automated": "drops posts that a program wrote",
    "short": "drops posts of fewer than three words",
    "duplicates": "drops posts that say the same as an earlier one",
    "near-duplicates": "drops posts that say nearly the same as an earlier one",
}
OFF = {
    "language": "drops posts that are not in their author's main language",
    "threads": "joins an author's answers to their own post to one text",
    "by-time": "holds the newest tenth out instead of any tenth",
}
OF_ALL = {"by-time"}  # what is no rule of the original's, and may go with it
BASES = ("huggingtweets", "default")


@dataclass(frozen=True, slots=True)
class Rules:
    """`base`: huggingtweets or default. `on`: the names of the rules in force; the base huggingtweets has its own, unnamed."""

    base: str
    on: frozenset[str]


def parse_rules(text: str) -> Rules:
    """The rules that `text` names: `default`, `huggingtweets`, or `default,-near-duplicates,+language`.

    Of a rule that is named twice the last sign holds. Raises InputError for a name that there is not, with the nearest that there is.
    """
    base, *switches = [part.strip() for part in text.split(",")]
    if base not in BASES:
        raise InputError(f"there are no rules {base!r}", f"Use --rules {' or '.join(BASES)}.")
    on = set(ON) if base == "default" else set()
    for switch in switches:
        sign, name = switch[:1], switch[1:]
        known = {**ON, **OFF} if base == "default" else OF_ALL
        if name not in known and (near := nearest(switch.lstrip("+-"))) not in known:
            raise InputError(
                f"huggingtweets are the original's rules, without {near}", f"Use --rules default,{sign or '+'}{near}."
            )
        if name not in known or sign not in ("+", "-"):
            near = nearest(switch.lstrip("+-"))
            raise InputError(
                f"there is no switch {switch!r} in the rules {text!r}",
                f"Did you mean {sign if sign in ('+', '-') else '+'}{near}? + switches on, - off; the rules are {', '.join((*ON, *OFF))}.",
            )
        (on.add if sign == "+" else on.discard)(name)
    return Rules(base, frozenset(on))


def nearest(name: str) -> str:
    """The rule whose name is most like `name`."""
    return difflib.get_close_matches(name, [*ON, *OFF], 1, 0)[0]
