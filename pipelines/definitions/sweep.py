"""The pipeline of a bot with a search for its recipe: short training runs (trials), then the bot with the best recipe."""

from typing import Any

from kfp import dsl

from components.finish_run.component import finish_run
from components.sweep.component import choose, trial
from pipelines.definitions.bot import RUN_ID, BotRun, collect, configure_local, train
from pipelines.placement import Placement

ABOUT = "Fetch a person's posts, search the recipe that suits them, fine-tune a base model by it, judge, record and promote it."


def build_sweep_tasks(bot_run: BotRun, trials: Any, at_once: int) -> None:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Build the tasks of a bot and of the search for its recipe.

    Args:
        bot_run: The bot; its specification's recipe is the first trial's.
        trials: The trials' numbers, from 1.
        at_once: The number of concurrent trials.
    """
    run, data = collect(bot_run)
    with dsl.ParallelFor(trials, name="each-trial", parallelism=at_once) as number:
        tried = bot_run.step(trial, run, number=number, data=data)
    search = bot_run.step(choose, run, states=dsl.Collected(tried.output)).output
    train(bot_run, run, data, search)


@dsl.pipeline(name="mynah-sweep", description=ABOUT)
def sweep(spec: str, trials: list[int], parent_run: str = "") -> None:
    """The pipeline on this machine. `parent_run`: the MLflow run of this pipeline run, in which the trials find one another."""
    # One trial at a time: concurrent training runs would share the cores, and a trial uses the results of earlier ones.
    build_sweep_tasks(BotRun(spec, "", configure_local, parent_run), trials, at_once=1)


def sweep_on_a_cluster(placement: Placement, at_once: int) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """Return the pipeline for Kubeflow Pipelines, which also starts and ends its MLflow run.

    Args:
        placement: The images, resources and limits of the steps.
        at_once: The number of concurrent trials.
    """

    @dsl.pipeline(name="mynah-sweep", description=ABOUT, pipeline_config=placement.config())
    def sweep(spec: str, trials: list[int]) -> None:
        with dsl.ExitHandler(placement.place(finish_run(kfp_run=RUN_ID, spec=spec, specs=[])), name="run"):
            build_sweep_tasks(BotRun(spec, RUN_ID, placement.place), trials, at_once)

    return sweep
