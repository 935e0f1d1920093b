"""The geometry of the report's charts.

X coordinates are in percent of the width, so that a chart scales with the page while its text keeps its size; Y coordinates are in
pixels from the top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from mynah.data.funnel import Funnel
from mynah.training.training_record import EpochLosses

HEIGHT = 220.0  # of a plot, in pixels
BINS = 28
ROUND_NUMBERS = [factor * 10**power for power in range(12) for factor in (1, 2, 5)]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled tick of an axis."""

    at: float  # its coordinate on the axis
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """A point."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Losses by epoch; `kept` is the point of the epoch whose weights were kept, None when it is not in the history."""

    training: tuple[Line, ...]
    held_out: tuple[Line, ...]
    training_dots: tuple[Point, ...]
    held_out_dots: tuple[Point, ...]
    epochs: tuple[Tick, ...]
    losses: tuple[Tick, ...]
    kept: Point | None


@dataclass(frozen=True, slots=True)
class FunnelBar:
    """One bar of a funnel: its label and number of posts, its start and width in percent."""

    label: str
    posts: int
    share: str
    start: float
    width: float
    kind: str  # downloaded, dropped or kept


@dataclass(frozen=True, slots=True)
class Lengths:
    """Two histograms with the same bins: the author's as bars, the samples' as an outline; medians are in characters."""

    bars: tuple[tuple[float, float], ...]  # x in percent, height in pixels; all are `width` percent wide
    width: float
    outline: tuple[Line, ...]
    characters: tuple[Tick, ...]
    shares: tuple[Tick, ...]
    median_of_samples: int
    median_of_posts: int


def loss_curve(history: Sequence[EpochLosses], kept_epoch: int) -> LossCurve | None:
    """Return the loss curve of a training run; None with fewer than two epochs.

    Args:
        history: Losses by epoch, in nats per token.
        kept_epoch: The epoch whose weights were kept.
    """
    epochs = sorted(history, key=lambda epoch: epoch.epoch)
    values = [loss for epoch in epochs for loss in (epoch.train_loss, epoch.held_out_loss) if loss is not None]
    if len({epoch.epoch for epoch in epochs}) < 2:
        return None
    first, last = epochs[0].epoch, epochs[-1].epoch
    steps = round_steps(min(values), max(values))

    def place(epoch: int, loss: float) -> Point:
        low, high = steps[0], steps[-1]
        return Point(100 * (epoch - first) / (last - first), HEIGHT * (high - loss) / (high - low))

    training = tuple(place(epoch.epoch, epoch.train_loss) for epoch in epochs if epoch.train_loss is not None)
    held_out = {epoch.epoch: place(epoch.epoch, epoch.held_out_loss) for epoch in epochs}
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


def funnel_bars(funnel: Funnel, author: int) -> tuple[FunnelBar, ...]:
    """Return one author's funnel as a waterfall: a bar of dropped posts ends where the previous one starts.

    Args:
        funnel: The funnel of all authors.
        author: The author's index in it.
    """
    (first, downloaded), *dropped, (last, kept) = [(label, posts[author]) for label, posts in funnel.rows()]
    total, remaining = downloaded or 1, downloaded
    bars = [FunnelBar(first, downloaded, "", 0, 100 if downloaded else 0, "downloaded")]
    for label, posts in dropped:
        remaining -= posts
        bars.append(FunnelBar(label, posts, _share(posts, total), 100 * remaining / total, 100 * posts / total, "dropped"))
    return (*bars, FunnelBar(last, kept, _share(kept, total), 0, 100 * kept / total, "kept"))


def lengths(samples: Sequence[str], posts: Sequence[str]) -> Lengths | None:
    """Return histograms of the lengths in characters; the last bin includes all longer texts. None without samples or posts.

    Args:
        samples: the bot's texts.
        posts: the author's texts.
    """
    if not samples or not posts:
        return None
    sample_lengths, post_lengths = sorted(map(len, samples)), sorted(map(len, posts))
    longest = max(sample_lengths[int(0.99 * (len(samples) - 1))], post_lengths[int(0.99 * (len(posts) - 1))], BINS)
    size = next(size for size in ROUND_NUMBERS if size * BINS >= longest)
    bins = math.ceil((longest + 1) / size)
    sample_shares, post_shares = (_shares(text_lengths, size, bins) for text_lengths in (sample_lengths, post_lengths))
    steps = round_steps(0.0, 100 * max(*sample_shares, *post_shares))
    scale = HEIGHT / steps[-1]
    tops = [HEIGHT - 100 * share * scale for share in sample_shares]
    width = 100 / bins
    corners = [HEIGHT, *tops, HEIGHT]
    outline = [Line(number * width, corners[number], number * width, corners[number + 1]) for number in range(bins + 1)]
    outline += [Line(number * width, top, (number + 1) * width, top) for number, top in enumerate(tops)]
    bins_per_tick = math.ceil(bins / 6)
    return Lengths(
        bars=tuple((number * width, 100 * share * scale) for number, share in enumerate(post_shares)),
        width=width,
        outline=tuple(outline),
        characters=tuple(Tick(number * width, f"{number * size:,}") for number in range(0, bins, bins_per_tick)),
        shares=tuple(Tick(HEIGHT - step * scale, f"{step:g} %") for step in steps),
        median_of_samples=int(median(sample_lengths)),
        median_of_posts=int(median(post_lengths)),
    )


def round_steps(low: float, high: float) -> list[float]:
    """Return three to seven equidistant round numbers, the first at or below `low` and the last at or above `high`."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * factor, 10) for factor in range(first, max(last, first + 1) + 1)]


def whole_steps(first: int, last: int, limit: int = 9) -> list[int]:
    """Return the multiples of a round number from `first` to `last`, at most `limit` of them."""
    step = next(size for size in ROUND_NUMBERS if (last - first) / size < limit)
    return list(range(-(-first // step) * step, last + 1, step))


def _joined(points: Sequence[Point]) -> tuple[Line, ...]:
    return tuple(Line(a.x, a.y, b.x, b.y) for a, b in pairwise(points))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _shares(lengths: Sequence[int], size: int, bins: int) -> list[float]:
    """Return the share of texts in each of `bins` bins of `size` characters, 0 to 1."""
    counts = [0] * bins
    for length in lengths:
        counts[min(length // size, bins - 1)] += 1
    return [count / len(lengths) for count in counts]
