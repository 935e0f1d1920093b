"""The pipeline of many bots in one run of Kubeflow Pipelines; a failed bot does not stop the others."""

from typing import Any

from kfp import dsl

from components.finish_run.component import finish_run
from pipelines.definitions.bot import RUN_ID, BotRun, build_bot_tasks
from pipelines.placement import Placement

ABOUT = "Make many bots, several at a time, and report the outcome of each."


def fleet_on_a_cluster(placement: Placement, at_once: int, only_news: bool = False) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """Return the pipeline of a fleet, whose parameter is the list of the references of its bots' specifications.

    Args:
        placement: The images, resources and limits of the steps.
        at_once: The number of concurrent bots.
        only_news: Whether bots without new posts are skipped.
    """

    @dsl.pipeline(name="mynah-fleet", description=ABOUT, pipeline_config=placement.config())
    def fleet(specs: list[str]) -> None:
        with (
            dsl.ExitHandler(placement.place(finish_run(kfp_run=RUN_ID, spec="", specs=specs)), name="run"),
            dsl.ParallelFor(specs, name="each-bot", parallelism=at_once) as spec,
        ):
            build_bot_tasks(BotRun(spec, RUN_ID, placement.place), only_news)

    return fleet
