"""The geometry of the report's pictures. Along x all is in percent of the width, so that a picture fits any screen and its words
keep their size; along y in pixels from the top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from components.evaluate.pages.facts import Author, Epoch

HEIGHT = 220.0  # pixels of a plot
BINS = 28
ROUND = [factor * 10**power for power in range(12) for factor in (1, 2, 5)]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight stroke."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """A dot."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Losses by epoch; `kept` is where the epoch stands whose weights were kept, None where it is not in the history."""

    training: tuple[Line, ...]
    held_out: tuple[Line, ...]
    training_dots: tuple[Point, ...]
    held_out_dots: tuple[Point, ...]
    epochs: tuple[Tick, ...]
    losses: tuple[Tick, ...]
    kept: Point | None


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of a funnel: `label`, its number of posts, where it starts and how wide it is."""

    label: str
    posts: int
    share: str
    start: float
    width: float
    kind: str  # downloaded, dropped or kept


@dataclass(frozen=True, slots=True)
class Lengths:
    """Two histograms of the same bins: the author's as bars, the samples' as an outline."""

    bars: tuple[tuple[float, float], ...]  # x in percent, height in pixels; each `width` wide
    width: float
    outline: tuple[Line, ...]
    characters: tuple[Tick, ...]
    shares: tuple[Tick, ...]
    median_of_samples: int
    median_of_posts: int


def loss_curve(history: Sequence[Epoch], kept_epoch: int) -> LossCurve | None:
    """The curve of a training, None where there is nothing to draw a line between."""
    epochs = sorted(history, key=lambda epoch: epoch.number)
    values = [loss for epoch in epochs for loss in (epoch.training, epoch.held_out) if loss is not None]
    if len({epoch.number for epoch in epochs}) < 2 or not values:
        return None
    first, last = epochs[0].number, epochs[-1].number
    steps = round_steps(min(values), max(values))

    def place(epoch: int, loss: float) -> Point:
        low, high = steps[0], steps[-1]
        return Point(100 * (epoch - first) / (last - first), HEIGHT * (high - loss) / (high - low))

    training = tuple(place(epoch.number, epoch.training) for epoch in epochs if epoch.training is not None)
    held_out = {epoch.number: place(epoch.number, epoch.held_out) for epoch in epochs if epoch.held_out is not None}
    few = len(epochs) <= 25
    return LossCurve(
        training=_joined(training),
        held_out=_joined(tuple(held_out.values())),
        training_dots=training if few else (),
        held_out_dots=tuple(held_out.values()) if few else (),
        epochs=tuple(Tick(place(epoch, 0).x, str(epoch)) for epoch in whole_steps(first, last)),
        losses=tuple(Tick(place(first, loss).y, f"{loss:g}") for loss in steps),
        kept=held_out.get(kept_epoch),
    )


def funnel(author: Author) -> tuple[Step, ...]:
    """The bars of one author, each dropped one beginning where the one before it ended, so that what is left is what is kept."""
    whole = author.downloaded or 1
    left, steps = (
        author.downloaded,
        [Step("Tweets downloaded", author.downloaded, "", 0, 100 if author.downloaded else 0, "downloaded")],
    )
    for label, posts in author.dropped:
        left -= posts
        steps.append(Step(label, posts, _share(posts, whole), 100 * left / whole, 100 * posts / whole, "dropped"))
    return (*steps, Step("Tweets kept", author.kept, _share(author.kept, whole), 0, 100 * author.kept / whole, "kept"))


def lengths(samples: Sequence[str], posts: Sequence[str]) -> Lengths | None:
    """How long texts are in characters, the last bin with all that are longer; None where there is nothing to compare."""
    if not samples or not posts:
        return None
    ours, theirs = sorted(map(len, samples)), sorted(map(len, posts))
    longest = max(ours[int(0.99 * (len(ours) - 1))], theirs[int(0.99 * (len(theirs) - 1))], BINS)
    size = next(size for size in ROUND if size * BINS >= longest)
    bins = math.ceil((longest + 1) / size)
    of_ours, of_theirs = (_shares(found, size, bins) for found in (ours, theirs))
    steps = round_steps(0.0, 100 * max(*of_ours, *of_theirs))
    scale = HEIGHT / steps[-1]
    tops = [HEIGHT - 100 * share * scale for share in of_ours]
    width = 100 / bins
    corners = [HEIGHT, *tops, HEIGHT]
    outline = [Line(place * width, corners[place], place * width, corners[place + 1]) for place in range(bins + 1)]
    outline += [Line(place * width, top, (place + 1) * width, top) for place, top in enumerate(tops)]
    every = math.ceil(bins / 6)
    return Lengths(
        bars=tuple((place * width, 100 * share * scale) for place, share in enumerate(of_theirs)),
        width=width,
        outline=tuple(outline),
        characters=tuple(Tick(place * width, f"{place * size:,}") for place in range(0, bins, every)),
        shares=tuple(Tick(HEIGHT - step * scale, f"{step:g} %") for step in steps),
        median_of_samples=int(median(ours)),
        median_of_posts=int(median(theirs)),
    )


def round_steps(low: float, high: float) -> list[float]:
    """Three to seven round numbers from one at or below `low` to one at or above `high`."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * place, 10) for place in range(first, max(last, first + 1) + 1)]


def whole_steps(first: int, last: int, most: int = 9) -> list[int]:
    """Whole numbers from `first` to `last`, at most `most` of them, at round distances."""
    step = next(size for size in ROUND if (last - first) / size < most)
    return list(range(-(-first // step) * step, last + 1, step))


def _joined(points: Sequence[Point]) -> tuple[Line, ...]:
    return tuple(Line(a.x, a.y, b.x, b.y) for a, b in pairwise(points))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _shares(found: Sequence[int], size: int, bins: int) -> list[float]:
    """The share of texts in each bin, 0 to 1."""
    counts = [0] * bins
    for length in found:
        counts[min(length // size, bins - 1)] += 1
    return [count / len(found) for count in counts]
