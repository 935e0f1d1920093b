"""How a canary gets more requests step by step, or none any more: by its errors and its seconds, as Prometheus tells them."""

import time
from dataclasses import dataclass

from components.deploy.prometheus import Prometheus, Traffic
from components.errors import GateRefused, InputError, PlatformError
from components.events import say

SHORTEST_WINDOW = 60  # seconds; a rate over less than two scrapes is none


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a canary in percent of the requests, and what it must keep to at each. Raises InputError for nonsense."""

    steps: tuple[int, ...] = (10, 50, 100)  # 100 is the promotion
    seconds: float = 300.0  # that each step is watched for
    least_requests: int = 20  # of the canary at each step: on fewer nothing is decided
    most_errors: float = 0.02  # share of its answers that may be 5xx
    slowest: float = 1.5  # its 95th percentile, in those of the stable version
    floor: float = 0.5  # seconds; a 95th percentile below it is never too slow

    def __post_init__(self) -> None:
        steps = self.steps
        if not steps or list(steps) != sorted(set(steps)) or not all(1 <= each <= 100 for each in steps):
            raise InputError(f"the steps {steps} are none", "Give percents that rise, from 1 to 100: 10,50,100.")
        if self.seconds <= 0 or self.least_requests < 1 or not 0 <= self.most_errors <= 1 or self.slowest <= 0:
            raise InputError(f"{self} makes no sense", "Shares are from 0 to 1; seconds and requests more than 0.")

    @classmethod
    def of(cls, first: int, seconds: float) -> "Plan":
        """The usual steps from `first` percent on."""
        return cls(tuple(sorted({first, *(each for each in cls().steps if each > first), 100})), seconds)


@dataclass(frozen=True, slots=True)
class Watched:
    """Where the metrics of two predictors are: the namespace, and how the names of their pods begin."""

    namespace: str
    canary: str
    stable: str


def watch(prometheus: Prometheus, plan: Plan, watched: Watched, poll: float) -> None:
    """Watch a step for `plan.seconds`; return when the canary kept to the plan.

    Raises GateRefused when it did not or too few asked it to tell, as soon as that is sure, and PlatformError when Prometheus does
    not answer at the end.
    """
    began, complained = time.monotonic(), False
    while True:
        is_over = time.monotonic() - began >= plan.seconds
        window = max(int(time.monotonic() - began), SHORTEST_WINDOW)
        try:
            canary = prometheus.traffic(watched.namespace, watched.canary, window)
            stable = prometheus.traffic(watched.namespace, watched.stable, window)
        except PlatformError as error:
            if is_over:
                raise
            if not complained:
                say(error.problem, "warning")
            complained = True
        else:
            reasons = shortcomings(plan, canary, stable)
            if reasons and canary.requests >= plan.least_requests:
                raise _refused(reasons)
            if is_over and canary.requests < plan.least_requests:
                raise _refused(
                    [f"{canary.requests:.0f} requests reached it, and fewer than {plan.least_requests} decide nothing"]
                )
            if is_over:
                return
        time.sleep(poll)


def shortcomings(plan: Plan, canary: Traffic, stable: Traffic) -> list[str]:
    """What is against the canary; [] when nothing is. What was not measured counts against it."""
    reasons = []
    if canary.errors is None or canary.errors > plan.most_errors:
        share = "an unknown share" if canary.errors is None else f"{canary.errors:.1%}"
        reasons.append(f"{share} of its answers are errors, where {plan.most_errors:.1%} may be")
    if canary.seconds is None:
        reasons.append("nothing tells how long its answers take")
    elif stable.seconds is not None and canary.seconds > max(plan.floor, plan.slowest * stable.seconds):
        reasons.append(f"its 95th percentile is {canary.seconds:.2f} s, and the stable version's {stable.seconds:.2f} s")
    return reasons


def _refused(reasons: list[str]) -> GateRefused:
    return GateRefused(f"the canary was not promoted: {'; '.join(reasons)}", "See its metrics and its logs before another try.")
