"""The pipeline of a bot with a search for its recipe: short training runs (trials), then the bot with the best recipe."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from kfp import dsl

from components.deploy.component import deploy
from components.finish_run.component import finish_run
from components.sweep.component import choose, trial
from pipelines.definitions.bot import RUN_ID, ConfigureTask, PipelineInputs, _configure_local, collect, start_parent_run, train
from pipelines.flat_signature import MadeBy, flatten
from pipelines.placement import Placement

ABOUT = "Fetch a person's posts, search the recipe that suits them, fine-tune a base model by it, judge, record and promote it."


@dataclass(frozen=True, slots=True)
class Search:
    """The search's parameters, as `Sweep.arguments` returns them."""

    trials: list[int]  # the trials' numbers, from 1
    space: str = "default"
    minutes: float = 0.0  # for the whole run; 0: no limit


SearchedInputs = Annotated[PipelineInputs, MadeBy(PipelineInputs, start=None)]


def search(inputs: PipelineInputs, how: Search, parent_run: Any, data: Any, place: ConfigureTask, at_once: int) -> PipelineInputs:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Search for the best recipe.

    Args:
        inputs: The pipeline's parameters; their recipe is the first trial's.
        how: The trials, the space and the time limit.
        parent_run: The MLflow run in which the trials read one another's results.
        data: The folder of texts.
        place: Configures a task for the place where it runs.
        at_once: The number of concurrent trials.

    Returns:
        The parameters with the best trial's recipe.
    """
    with dsl.ParallelFor(how.trials, name="each-trial", parallelism=at_once) as number:
        tried = place(
            trial(
                number=number, space=how.space, base_model=inputs.base_model, recipe=inputs.recipe, budget=inputs.budget,
                minutes=how.minutes, parent_run=parent_run, data=data,
            )
        )  # fmt: skip
    chosen = place(choose(parent_run=parent_run, states=dsl.Collected(tried.output)))
    return replace(inputs, recipe=chosen.outputs["Output"])


@dsl.pipeline(name="mynah-sweep", description=ABOUT)
@flatten
def sweep(inputs: SearchedInputs, searched: Search, parent_run: str = "") -> None:
    """The pipeline on this machine. `parent_run`: the MLflow run of this pipeline run, in which the trials find one another."""
    data = collect(inputs, parent_run, _configure_local)
    # One trial at a time: concurrent training runs would share the cores, and a trial uses the results of earlier ones.
    train(search(inputs, searched, parent_run, data, _configure_local, at_once=1), parent_run, data, _configure_local)


def sweep_on_a_cluster(placement: Placement, at_once: int) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """Return the pipeline for Kubeflow Pipelines, which also starts and ends its MLflow run.

    Args:
        placement: The images, resources and limits of the steps.
        at_once: The number of concurrent trials.
    """

    @dsl.pipeline(name="mynah-sweep", description=ABOUT, pipeline_config=placement.config())
    @flatten
    def sweep(inputs: SearchedInputs, searched: Search, serve_in: str = "") -> None:
        place = placement.place
        with dsl.ExitHandler(place(finish_run(kfp_run=RUN_ID, bots=[])), name="run"):
            run = start_parent_run(inputs, place)
            data = collect(inputs, run, place)
            best = search(inputs, searched, run, data, place, at_once)
            version, decision = train(best, run, data, place)
            place(deploy(name=inputs.name, version=version, decision=decision, namespace=serve_in, parent_run=run))

    return sweep
