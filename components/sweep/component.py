"""A trial, and the choice among all of them, as Kubeflow steps."""

from typing import Any

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def trial(
    number: int,
    space: str,
    base_model: str,
    recipe: dict[str, Any],
    budget: float,
    minutes: float,
    parent_run: str,
    data: dsl.Input[dsl.Dataset],
) -> str:
    """Train once with a recipe from `space`, around `recipe`, that promises more than what the trials so far found; how it ended.

    `budget` and `minutes`: what the whole pipeline run may cost and take; 0 sets no limit.
    """
    from pathlib import Path

    from components.finetune.recipe import build
    from components.steps import step
    from components.store import Store
    from components.sweep import require_optuna
    from components.sweep.records import step_name
    from components.sweep.trial import TrialSettings
    from components.sweep.trial import trial as work

    with step(step_name(number), parent_run) as run:
        require_optuna()
        settings = TrialSettings(number, space, base_model, build(**recipe), budget, minutes)
        return work(Path(data.path), settings, Store.from_environment(), run).state


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def choose(parent_run: str, states: list[str], search: dsl.Output[dsl.Artifact]) -> dict[str, Any]:
    """The recipe of the best trial; `search`: a table of all trials, and a picture. `states`: how each ended; they are over, then."""
    from pathlib import Path

    from components.steps import step
    from components.store import Store
    from components.sweep.choose import choose as work

    with step("choose", parent_run, search=search.path) as run:
        chosen = work(Path(search.path), Store.from_environment(), parent_run)
        run.params({"trial": chosen.best.number, **chosen.best.values()})
        run.metrics({"best_held_out_loss": min(chosen.best.losses), "trials": len(states)})
        run.artifacts(Path(search.path), "search")
    return chosen.recipe
