"""What the X API costs, its terms, and whether a person agreed to both: before anything is asked of it."""

import math
import os
from dataclasses import dataclass

from components.errors import InputError
from components.events import say

PAGE, SMALLEST_PAGE = 100, 5  # posts
MOST_POSTS = 3200  # that X gives out of a timeline
PRICE_PER_POST, PRICE_PER_ACCOUNT = 0.005, 0.010  # US dollars, https://docs.x.com/x-api/getting-started/pricing, August 2026
AGREEMENT = "https://docs.x.com/developer-terms/agreement"
ARCHIVE = "The account's own archive costs nothing: archive:EXPORT.zip."


@dataclass(frozen=True, slots=True)
class Spend:
    """What a person agreed to pay: up to so many US dollars, or (`yes`) whatever the timeline costs."""

    max_cost_usd: float | None = None
    yes: bool = False


def spend_of(max_cost: float) -> Spend:
    """What the pipelines' parameter means: 0 nothing, less whatever the timeline costs, else US dollars."""
    return Spend(yes=True) if max_cost < 0 else Spend(max_cost or None)


class Purse:
    """What may be spent, and what was, in US dollars, by the prices that were told."""

    def __init__(self, price: float, cap: float) -> None:
        self.price, self.cap, self.spent = price, cap, 0.0

    def pay(self, dollars: float) -> None:
        """Something was given out."""
        self.spent += dollars

    def posts(self, wanted: int) -> int:
        """How many posts the next page may hold: 0 where not even the smallest page is within the cap."""
        size = max(min(wanted, PAGE), SMALLEST_PAGE)
        if self.price and self.cap < math.inf:
            size = int(min(size, (self.cap - self.spent) / self.price + 1e-6))  # in this order: the quotient may be infinite
        return size if size >= SMALLEST_PAGE else 0


def agreed(name: str, most: int, spend: Spend) -> Purse:
    """The purse for `most` posts of @name, once price and terms were told. Raises InputError when they were not agreed to."""
    price, cap = _price(), math.inf if spend.max_cost_usd is None else spend.max_cost_usd
    charged = min(most + SMALLEST_PAGE - 1, MOST_POSTS)  # pages may be short, and the last one larger than what is still wanted
    total = charged * price + PRICE_PER_ACCOUNT
    told = (
        f"X charges for each post that it gives out: at most {charged:,} posts of @{name} for ${price:g} each, "
        f"and the account for ${PRICE_PER_ACCOUNT:.2f}, are ${total:,.2f}"
    )
    terms = (
        "X's developer agreement forbids to fine-tune or train a foundation or frontier model on what its API gives out, "
        f"and what is deleted on X must soon be deleted here too: {AGREEMENT}"
    )
    if cap == math.inf and not spend.yes:
        fix = f"Agree with --yes, or set a cap with --max-cost USD. {ARCHIVE}"
        raise InputError(f"{told}; nothing was asked of X yet. {terms}", fix)
    least = PRICE_PER_ACCOUNT + SMALLEST_PAGE * price
    if not cap >= least:  # also not a number
        raise InputError(
            f"a cap of ${cap:g} buys nothing from X", f"The least is ${least:g}: the account and {SMALLEST_PAGE} posts."
        )
    say(f"{told}{f'; the cap is ${cap:,.2f}' if cap < math.inf else ''}.")
    say(f"{terms}.", "warning")
    return Purse(price, cap)


def _price() -> float:
    given = os.environ.get("MYNAH_X_PRICE_PER_POST") or str(PRICE_PER_POST)
    try:
        price = float(given)
    except ValueError:
        price = math.nan
    if not 0 <= price < 1000:
        raise InputError(f"MYNAH_X_PRICE_PER_POST is {given[:40]!r}", "Write US dollars a post, such as 0.005.")
    return price
