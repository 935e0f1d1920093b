"""The X API's price and terms, and a person's agreement to both before any request."""

import math
from dataclasses import dataclass

from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_X_PRICE_PER_POST

PAGE, SMALLEST_PAGE = 100, 5  # posts
MAX_POSTS = 3200  # of a timeline, X's own limit
PRICE_PER_ACCOUNT = 0.010  # US dollars, https://docs.x.com/x-api/getting-started/pricing, August 2026
AGREEMENT = "https://docs.x.com/developer-terms/agreement"
ARCHIVE = "The account's own archive costs nothing: archive:EXPORT.zip."


@dataclass(frozen=True, slots=True)
class Budget:
    """What a person agreed to pay: a maximum in US dollars, or (`yes`) whatever the timeline costs."""

    max_cost_usd: float | None = None
    yes: bool = False


def parse_budget(max_cost: float) -> Budget:
    """Convert the pipelines' parameter: 0 for nothing, a negative number for whatever the timeline costs, else US dollars."""
    return Budget(yes=True) if max_cost < 0 else Budget(max_cost or None)


class SpendingLimit:
    """Tracks what may be spent and what was, in US dollars, at the announced prices."""

    def __init__(self, price: float, max_cost: float) -> None:
        self.price, self.max_cost, self.spent = price, max_cost, 0.0

    def pay(self, dollars: float) -> None:
        """Record a payment."""
        self.spent += dollars

    def posts(self, remaining: int) -> int:
        """Return how many posts the next page may hold: 0 where not even the smallest page is within the limit."""
        size = max(min(remaining, PAGE), SMALLEST_PAGE)
        if self.price and self.max_cost < math.inf:
            size = int(min(size, (self.max_cost - self.spent) / self.price + 1e-6))  # in this order: the quotient may be infinite
        return size if size >= SMALLEST_PAGE else 0


def require_price_agreement(name: str, max_posts: int, budget: Budget) -> SpendingLimit:
    """Announce price and terms, and return the spending limit.

    Args:
        name: The account's handle.
        max_posts: How many of its posts to read at most.
        budget: What a person agreed to pay.

    Returns:
        The limit, with nothing spent yet.

    Raises:
        InputError: They did not agree to any cost, or their limit is below the price of the smallest page.
    """
    price, max_cost = MYNAH_X_PRICE_PER_POST.get(), math.inf if budget.max_cost_usd is None else budget.max_cost_usd
    charged = min(max_posts + SMALLEST_PAGE - 1, MAX_POSTS)  # the last page may be larger than what remains to be read
    total = charged * price + PRICE_PER_ACCOUNT
    price_notice = (
        f"X charges for each post that it returns: at most {charged:,} posts of @{name} for ${price:g} each, "
        f"and the account for ${PRICE_PER_ACCOUNT:.2f}, are ${total:,.2f}"
    )
    terms = (
        "X's developer agreement forbids fine-tuning or training a foundation or frontier model on what its API returns, "
        f"and what is deleted on X must soon be deleted here too: {AGREEMENT}"
    )
    if max_cost == math.inf and not budget.yes:
        fix = f"Agree with --yes, or set a limit with --max-cost USD. {ARCHIVE}"
        raise InputError(f"{price_notice}; no request was made to X yet. {terms}", fix)
    minimum = PRICE_PER_ACCOUNT + SMALLEST_PAGE * price
    if not max_cost >= minimum:  # also not a number
        raise InputError(
            f"a cost limit of ${max_cost:g} buys nothing from X",
            f"The minimum is ${minimum:g}: the account and {SMALLEST_PAGE} posts.",
        )
    notify(f"{price_notice}{f'; the limit is ${max_cost:,.2f}' if max_cost < math.inf else ''}.")
    notify(f"{terms}.", "warning")
    return SpendingLimit(price, max_cost)
