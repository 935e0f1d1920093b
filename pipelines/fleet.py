"""Many bots in one run of Kubeflow Pipelines, so many at a time; one that fails stops none of the others."""

from typing import Any

from kfp import dsl

from components.close.component import close
from pipelines.bot import RUN_ID, Wanted, make
from pipelines.placing import Placement

ABOUT = "Make many bots, so many at a time, and tell what became of each."


def fleet_on_a_cluster(placement: Placement, at_once: int) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """The fleet's pipeline, which makes `at_once` bots at a time.

    `bots` is a list of {"bot": NAME, "sources": [URI, …], "basis": BASIS or ""}: not "name", which kfp 2.17 takes for the loop
    variable's own. The table of outcomes is the exit handler's: a step that collected the bots' results would not run where one of them
    failed.
    """

    @dsl.pipeline(name="mynah-fleet", description=ABOUT, pipeline_config=placement.config())
    def fleet(
        bots: list,  # type: ignore[type-arg]  # kfp 2.17 finds no type in list[dict[str, Any]]
        base_model: str = "fledgling",
        rules: str = "default",
        recipe: dict[str, Any] = {},  # noqa: B006 - Kubeflow reads the default into the compiled pipeline
        limit: int = 0,
        seed: int = 42,
        budget: float = 0.0,
        start: str = "base",
        max_cost: float = 0.0,
        only_news: bool = False,
    ) -> None:
        with (
            dsl.ExitHandler(placement.place(close(kfp_run=RUN_ID, bots=bots)), name="run"),
            dsl.ParallelFor(bots, name="each-bot", parallelism=at_once) as each,
        ):
            wanted = Wanted(each.bot, each.sources, base_model, rules, recipe, limit, seed, budget, start, each.basis, max_cost)
            make(wanted, only_news, placement.place)

    return fleet
