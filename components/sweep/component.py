"""A trial, and the choice of the best one, as Kubeflow steps."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def trial(number: int, spec: str, kfp_run: str, parent_run: str, data: str) -> str:
    """Train with a recipe that the earlier trials make promising; return the trial's state.

    A trial that finished in an earlier search with the same inputs is kept instead.

    Args:
        number: the trial's number, from 1.
        spec: the reference of the run's specification, whose recipe is searched around.
        kfp_run: the id of the Kubeflow run; "" on a laptop.
        parent_run: the pipeline run's id in MLflow.
        data: the filter step's texts.
    """
    from components.step_runtime import step
    from components.sweep.settings import require_optuna
    from components.sweep.trial import TrialSettings, trial
    from components.sweep.trial_records import step_name
    from mynah.mlflow_client.store import Store
    from mynah.training.recipe import build

    with step(step_name(number), spec, kfp_run, parent_run) as at:
        require_optuna()
        asked = at.inputs
        settings = TrialSettings(number, asked.space, asked.base_model, build(**asked.recipe), asked.budget, asked.minutes)
        return trial(at.files.open(data), settings, Store.from_environment(), at.run).state


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def choose(spec: str, kfp_run: str, parent_run: str, states: list[str]) -> str:
    """Choose the best trial.

    Args:
        spec: the reference of the run's specification.
        kfp_run: the id of the Kubeflow run; "" on a laptop.
        parent_run: the pipeline run's id in MLflow.
        states: the states of all trials; the input makes this step wait for them.

    Returns:
        The reference of a folder with the best trial's recipe, a table of all trials and a plot of the search.
    """
    from components.step_runtime import step
    from components.sweep.best_trial import choose
    from mynah.mlflow_client.store import Store

    with step("choose", spec, kfp_run, parent_run) as at:
        search = at.files.new("search")
        chosen = choose(search, Store.from_environment(), at.parent_run)
        at.run.params({"trial": chosen.best.number, **chosen.best.values()})
        at.run.metrics({"best_held_out_loss": min(chosen.best.losses), "trials": len(states)})
        at.run.artifacts(search, "search")
        return at.files.hand_on("search")
