"""search.png: what a sweep tried and what came of it, for people who never read a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.sweep.records import COMPLETED, FAILED, PRUNED, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of each state: what the legend calls it, its mark and its colour (Okabe & Ito's, which colour-blind people tell apart).
STATES = {
    COMPLETED: ("trained to the end", "o", "#0072B2"),
    PRUNED: ("stopped early: no hope to be the best", "x", "#E69F00"),
    FAILED: ("failed", "v", "#D55E00"),
}
BEST = "#009E73"
NAMES = {
    "learning_rate": "learning rate", "batch_tokens": "batch size (tokens)", "warmup": "warm-up (share of steps)",
    "weight_decay": "weight decay", "epochs": "epochs at most", "dropout": "dropout", "schedule": "schedule",
}  # fmt: skip
LOGARITHMIC = ("learning_rate", "batch_tokens", "weight_decay")  # their factors matter, not their differences
COLUMNS = 4
DPI = 110


def draw(trials: Sequence[Trial], best: Trial, path: Path) -> None:
    """Draw the loss of each trial, and over each value that was searched, to `path`, a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a figure of its own: pyplot keeps what it draws
    from matplotlib.figure import Figure

    keys = list(best.params)
    rows = -(-len(keys) // COLUMNS)
    figure = Figure(figsize=(13, 4.6 + 2.9 * rows), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.5] + [1.0] * rows)
    figure.suptitle(f"{len(trials)} recipe{'s' * (len(trials) > 1)} tried; the best is number {best.number}", fontsize=15)
    over_time = figure.add_subplot(grid[0, :])
    top = _top(trials)
    _over_trials(over_time, trials, best, top)
    for number, key in enumerate(keys):
        axes = figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS], sharey=over_time)
        _over_values(axes, trials, best, key, top)
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})


def _top(trials: Sequence[Trial]) -> float:
    """Where the losses' axis ends: a trial that went wrong would press all others together."""
    losses = sorted(each.loss for each in trials if each.loss is not None)
    middle, low = losses[len(losses) // 2], losses[0]
    return max(middle + 2 * (middle - low), low * 1.02)


def _over_trials(axes: "Axes", trials: Sequence[Trial], best: Trial, top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(
        "Lower is better: how badly the bot predicts posts that it never saw (held-out loss, nats per token)", fontsize=11
    )
    for state, (label, mark, colour) in STATES.items():
        some = [each for each in trials if each.state == state]
        if some:
            axes.scatter(
                [each.number for each in some],
                [_height(each, top) for each in some],
                marker=mark,
                c=colour,
                s=46,
                label=label,
                zorder=3,
            )
    done = [each for each in trials if each.state == COMPLETED and each.loss is not None]
    lowest, line = float("inf"), []
    for each in done:
        lowest = min(lowest, each.loss or lowest)
        line.append(lowest)
    axes.step([each.number for each in done], line, where="post", color=BEST, label="the best so far", zorder=2)
    axes.scatter(
        [best.number], [_height(best, top)], s=190, facecolors="none", edgecolors=BEST, linewidths=2, zorder=4, label="the best"
    )
    axes.annotate(f"{best.loss:.3f}", (best.number, _height(best, top)), xytext=(12, 10), textcoords="offset points", color=BEST)
    for each in trials:
        if each.state != FAILED and each.loss is not None and each.loss > top:
            axes.annotate(f"↑ {each.loss:.2f}", (each.number, top), xytext=(8, -4), textcoords="offset points")
    axes.set_xlabel("trial (number 1 is the recipe without the sweep)")
    axes.set_ylabel("held-out loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.06)
    low = min(each.loss for each in trials if each.loss is not None)
    axes.set_ylim(low - 0.1 * (top - low), top + 0.08 * (top - low))
    axes.grid(axis="y", alpha=0.3)


def _over_values(axes: "Axes", trials: Sequence[Trial], best: Trial, key: str, top: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    tried = [each for each in trials if key in each.recipe]
    values = [each.recipe[key] for each in tried]
    places: dict[Any, float] = {}
    if not all(isinstance(value, int | float) for value in values):
        places = {value: float(number) for number, value in enumerate(sorted(set(values), key=str))}
        axes.set_xticks(list(places.values()), [str(value) for value in places])
        axes.margins(x=0.25)
    elif key in LOGARITHMIC and min(values) > 0 and max(values) > 2 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 * min(values) else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif all(isinstance(value, int) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # nobody trains for one and a half epochs
    for each in tried:
        _, mark, colour = STATES[each.state]
        axes.scatter(
            [places.get(each.recipe[key], each.recipe[key])], [_height(each, top)], marker=mark, c=colour, s=34, zorder=3
        )
    at = places.get(best.recipe[key], best.recipe[key])
    axes.scatter([at], [_height(best, top)], s=130, facecolors="none", edgecolors=BEST, linewidths=2, zorder=4)
    axes.set_xlabel(NAMES.get(key, key))
    axes.grid(axis="y", alpha=0.3)


def _height(trial: Trial, top: float) -> float:
    """Where a trial stands: at the upper edge when it failed or is beyond it."""
    return top if trial.loss is None or trial.state == FAILED else min(trial.loss, top)
