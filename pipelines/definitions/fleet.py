"""The pipeline of many bots in one run of Kubeflow Pipelines; a failed bot does not stop the others."""

from collections.abc import Callable
from typing import Annotated, Any

from kfp import dsl

from components.finish_run.component import finish_run
from pipelines.definitions.bot import RUN_ID, PipelineInputs, build_bot_tasks
from pipelines.flat_signature import MadeBy, flatten
from pipelines.placement import Placement

ABOUT = "Make many bots, several at a time, and report the outcome of each."


def fleet_on_a_cluster(placement: Placement, at_once: int) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """Return the pipeline of a fleet.

    Its parameter `bots` is a list of {"bot": NAME, "sources": [URI, …], "basis": BASIS or ""}; kfp 2.17 reserves "name" for the loop
    variable. The exit handler writes the table of outcomes, because a step that collects the bots' results would not run after a
    failure.

    Args:
        placement: The images, resources and limits of the steps.
        at_once: The number of concurrent bots.
    """

    @dsl.pipeline(name="mynah-fleet", description=ABOUT, pipeline_config=placement.config())
    @flatten
    def fleet(
        bots: list,  # type: ignore[type-arg]  # kfp 2.17 finds no type in list[dict[str, Any]]
        inputs_of: Annotated[Callable[..., PipelineInputs], MadeBy(PipelineInputs, name=None, sources=None, basis=None)],
        only_news: bool = False,
    ) -> None:
        with (
            dsl.ExitHandler(placement.place(finish_run(kfp_run=RUN_ID, bots=bots)), name="run"),
            dsl.ParallelFor(bots, name="each-bot", parallelism=at_once) as each,
        ):
            inputs = inputs_of(name=each.bot, sources=each.sources, basis=each.basis)
            build_bot_tasks(inputs, only_news, placement.place)

    return fleet
