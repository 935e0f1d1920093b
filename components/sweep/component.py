"""A trial, and the choice of the best one, as Kubeflow steps."""

from typing import Any

from kfp import dsl

from components.images import TRAIN_IMAGE


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
    """Train with a recipe that the earlier trials make promising; return the trial's state.

    A trial that finished in an earlier search with the same inputs is kept instead.

    Args:
        number: the trial's number, from 1.
        space: the name of the search space.
        base_model: a name that `mynah bases` lists, a folder, or another name on the Hugging Face hub.
        recipe: the recipe around which to search: a preset and the changes to it.
        budget: US dollars that the whole pipeline run may cost; 0 sets no limit.
        minutes: minutes that the whole pipeline run may take; 0 sets no limit.
        parent_run: the pipeline run's id in MLflow.
        data: the filter step's texts.
    """
    from pathlib import Path

    from components.step_runtime import step
    from components.sweep.settings import require_optuna
    from components.sweep.trial import TrialSettings, trial
    from components.sweep.trial_records import step_name
    from mynah.mlflow_client.store import Store
    from mynah.training.recipe import build

    with step(step_name(number), parent_run) as run:
        require_optuna()
        settings = TrialSettings(number, space, base_model, build(**recipe), budget, minutes)
        return trial(Path(data.path), settings, Store.from_environment(), run).state


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def choose(parent_run: str, states: list[str], search: dsl.Output[dsl.Artifact]) -> dict[str, Any]:
    """Return the recipe of the best trial.

    Args:
        parent_run: the pipeline run's id in MLflow.
        states: the states of all trials; the input makes this step wait for them.
        search: a table of all trials and a plot of the search.
    """
    from pathlib import Path

    from components.step_runtime import step
    from components.sweep.best_trial import choose
    from mynah.mlflow_client.store import Store

    with step("choose", parent_run, search=search.path) as run:
        chosen = choose(Path(search.path), Store.from_environment(), parent_run)
        run.params({"trial": chosen.best.number, **chosen.best.values()})
        run.metrics({"best_held_out_loss": min(chosen.best.losses), "trials": len(states)})
        run.artifacts(Path(search.path), "search")
    return chosen.recipe
