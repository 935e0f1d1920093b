"""Increase or end a canary's share of requests step by step, by its error rate and latency in Prometheus."""

import time
from dataclasses import dataclass

from components.deploy.prometheus import Prometheus, Traffic
from mynah.core.errors import GateRefused, InputError, PlatformError
from mynah.core.progress import notify

MIN_WINDOW = 60  # seconds; a rate needs at least two scrapes


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a canary in percent of requests, and its limits at each. Raises InputError for invalid values."""

    steps: tuple[int, ...] = (10, 50, 100)  # 100 is the promotion
    seconds: float = 300.0  # duration of each step
    min_requests: int = 20  # of the canary at each step: fewer allow no decision
    max_errors: float = 0.02  # maximum share of 5xx responses
    max_slowdown: float = 1.5  # maximum 95th percentile, as a multiple of the stable version's
    floor: float = 0.5  # seconds; a 95th percentile below it is never too slow

    def __post_init__(self) -> None:
        steps = self.steps
        if not steps or list(steps) != sorted(set(steps)) or not all(1 <= step <= 100 for step in steps):
            raise InputError(f"the steps {steps} are invalid", "Give increasing percentages from 1 to 100: 10,50,100.")
        if self.seconds <= 0 or self.min_requests < 1 or not 0 <= self.max_errors <= 1 or self.max_slowdown <= 0:
            raise InputError(f"{self} is invalid", "Shares are from 0 to 1; seconds and requests more than 0.")

    @classmethod
    def of(cls, first: int, seconds: float) -> "Plan":
        """Return the default steps from `first` percent on."""
        return cls(tuple(sorted({first, *(step for step in cls().steps if step > first), 100})), seconds)


@dataclass(frozen=True, slots=True)
class Watched:
    """The pods of two predictors: their namespace, and the prefixes of their names."""

    namespace: str
    canary: str
    stable: str


def watch(prometheus: Prometheus, plan: Plan, watched: Watched, poll: float) -> None:
    """Watch a canary for the duration of one step; return when it stayed within its limits.

    Args:
        prometheus: The server to query.
        plan: The duration of a step, and the limits.
        watched: The pods to compare.
        poll: Seconds between two queries.

    Raises:
        GateRefused: The canary exceeded its limits, or received too few requests.
        PlatformError: Prometheus does not respond at the end of the step.
    """
    start, has_warned = time.monotonic(), False
    while True:
        is_over = time.monotonic() - start >= plan.seconds
        window = max(int(time.monotonic() - start), MIN_WINDOW)
        try:
            canary = prometheus.traffic(watched.namespace, watched.canary, window)
            stable = prometheus.traffic(watched.namespace, watched.stable, window)
        except PlatformError as error:
            if is_over:
                raise
            if not has_warned:
                notify(error.problem, "warning")
            has_warned = True
        else:
            reasons = shortcomings(plan, canary, stable)
            if reasons and canary.requests >= plan.min_requests:
                raise _refused(reasons)
            if is_over and canary.requests < plan.min_requests:
                raise _refused([f"only {canary.requests:.0f} requests reached it, and a decision needs {plan.min_requests}"])
            if is_over:
                return
        time.sleep(poll)


def shortcomings(plan: Plan, canary: Traffic, stable: Traffic) -> list[str]:
    """Compare a canary's traffic with the limits. A missing measurement counts against it.

    Args:
        plan: The limits.
        canary: Its traffic.
        stable: The traffic of the version that it is compared with.

    Returns:
        The reasons against it; empty for none.
    """
    reasons = []
    if canary.errors is None or canary.errors > plan.max_errors:
        share = "an unknown share" if canary.errors is None else f"{canary.errors:.1%}"
        reasons.append(f"{share} of its answers are errors, and the limit is {plan.max_errors:.1%}")
    if canary.seconds is None:
        reasons.append("the latency of its answers is unknown")
    elif stable.seconds is not None and canary.seconds > max(plan.floor, plan.max_slowdown * stable.seconds):
        reasons.append(f"its 95th percentile is {canary.seconds:.2f} s, and the stable version's {stable.seconds:.2f} s")
    return reasons


def _refused(reasons: list[str]) -> GateRefused:
    return GateRefused(f"the canary was not promoted: {'; '.join(reasons)}", "See its metrics and its logs before another try.")
