"""Draws search.png: the loss of each trial of a sweep, over the trials and over each searched parameter."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.sweep.trial_records import COMPLETED, FAILED, PRUNED, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Legend label, marker and colour of each state; the colours are Okabe and Ito's, which colour-blind people can distinguish.
STATES = {
    COMPLETED: ("trained to the end", "o", "#0072B2"),
    PRUNED: ("stopped early: unlikely to be the best", "x", "#E69F00"),
    FAILED: ("failed", "v", "#D55E00"),
}
BEST = "#009E73"
NAMES = {
    "learning_rate": "learning rate", "batch_tokens": "batch size (tokens)", "warmup": "warm-up (share of steps)",
    "weight_decay": "weight decay", "epochs": "epochs at most", "dropout": "dropout", "schedule": "schedule",
}  # fmt: skip
LOGARITHMIC = ("learning_rate", "batch_tokens", "weight_decay")  # drawn on a logarithmic axis
COLUMNS = 4
DPI = 110


def draw(trials: Sequence[Trial], best: Trial, path: Path) -> None:
    """Plot the loss of each trial, and over each searched parameter.

    Args:
        trials: the trials that were started.
        best: the best trial.
        path: the PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which keeps all figures in memory
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
    """Return the upper end of the loss axis, so that one diverged trial does not compress all others."""
    losses = sorted(trial.loss for trial in trials if trial.loss is not None)
    middle, low = losses[len(losses) // 2], losses[0]
    return max(middle + 2 * (middle - low), low * 1.02)


def _over_trials(axes: "Axes", trials: Sequence[Trial], best: Trial, top: float) -> None:
    """Plot the losses over the trials' numbers; `top` is the upper end of the loss axis, in nats per token."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(
        "Lower is better: how badly the bot predicts posts that it never saw (held-out loss, nats per token)", fontsize=11
    )
    for state, (label, mark, colour) in STATES.items():
        in_state = [trial for trial in trials if trial.state == state]
        if in_state:
            axes.scatter(
                [trial.number for trial in in_state],
                [_y_value(trial, top) for trial in in_state],
                marker=mark,
                c=colour,
                s=46,
                label=label,
                zorder=3,
            )
    completed = [trial for trial in trials if trial.state == COMPLETED and trial.loss is not None]
    lowest, best_so_far = float("inf"), []
    for trial in completed:
        lowest = min(lowest, trial.loss or lowest)
        best_so_far.append(lowest)
    axes.step([trial.number for trial in completed], best_so_far, where="post", color=BEST, label="the best so far", zorder=2)
    axes.scatter(
        [best.number], [_y_value(best, top)], s=190, facecolors="none", edgecolors=BEST, linewidths=2, zorder=4, label="the best"
    )
    axes.annotate(f"{best.loss:.3f}", (best.number, _y_value(best, top)), xytext=(12, 10), textcoords="offset points", color=BEST)
    for trial in trials:
        if trial.state != FAILED and trial.loss is not None and trial.loss > top:
            axes.annotate(f"↑ {trial.loss:.2f}", (trial.number, top), xytext=(8, -4), textcoords="offset points")
    axes.set_xlabel("trial (number 1 is the recipe without the sweep)")
    axes.set_ylabel("held-out loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.06)
    low = min(trial.loss for trial in trials if trial.loss is not None)
    axes.set_ylim(low - 0.1 * (top - low), top + 0.08 * (top - low))
    axes.grid(axis="y", alpha=0.3)


def _over_values(axes: "Axes", trials: Sequence[Trial], best: Trial, key: str, top: float) -> None:
    """Plot the losses over the values of a parameter; `top` is the upper end of the loss axis, in nats per token."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    with_value = [trial for trial in trials if key in trial.recipe]
    values = [trial.recipe[key] for trial in with_value]
    positions: dict[Any, float] = {}
    if not all(isinstance(value, int | float) for value in values):
        positions = {value: float(number) for number, value in enumerate(sorted(set(values), key=str))}
        axes.set_xticks(list(positions.values()), [str(value) for value in positions])
        axes.margins(x=0.25)
    elif key in LOGARITHMIC and min(values) > 0 and max(values) > 2 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 * min(values) else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif all(isinstance(value, int) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # integer parameters have integer ticks
    for trial in with_value:
        _, mark, colour = STATES[trial.state]
        axes.scatter(
            [positions.get(trial.recipe[key], trial.recipe[key])], [_y_value(trial, top)], marker=mark, c=colour, s=34, zorder=3
        )
    position = positions.get(best.recipe[key], best.recipe[key])
    axes.scatter([position], [_y_value(best, top)], s=130, facecolors="none", edgecolors=BEST, linewidths=2, zorder=4)
    axes.set_xlabel(NAMES.get(key, key))
    axes.grid(axis="y", alpha=0.3)


def _y_value(trial: Trial, top: float) -> float:
    """Return a trial's position on the loss axis: the upper edge when it failed or exceeds it."""
    return top if trial.loss is None or trial.state == FAILED else min(trial.loss, top)
