"""A bot whose recipe is searched for: posts in, many short trainings, and the best of their recipes makes the bot."""

from dataclasses import dataclass, replace
from typing import Any

from kfp import dsl

from components.begin.component import begin
from components.close.component import close
from components.deploy.component import deploy
from components.sweep.component import choose, trial
from pipelines.bot import RUN_ID, Place, Wanted, _here, collect, train
from pipelines.placing import Placement

ABOUT = "Fetch a person's posts, search the recipe that suits them, fine-tune a GPT-2 by it, judge, record and promote it."


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and for how long: the pipeline's parameters, each a value or Kubeflow's placeholder for one."""

    trials: Any
    space: Any
    minutes: Any


def search(wanted: Wanted, how: Search, parent_run: Any, data: Any, place: Place, at_once: int) -> Wanted:  # noqa: ANN401
    """The same bot with the best recipe of the trials, of which `at_once` run at a time."""
    with dsl.ParallelFor(how.trials, name="each-trial", parallelism=at_once) as number:
        tried = place(
            trial(
                number=number, space=how.space, base_model=wanted.base_model, recipe=wanted.recipe, budget=wanted.budget,
                minutes=how.minutes, parent_run=parent_run, data=data,
            )
        )  # fmt: skip
    chosen = place(choose(parent_run=parent_run, states=dsl.Collected(tried.output)))
    return replace(wanted, recipe=chosen.outputs["Output"])


@dsl.pipeline(name="mynah-sweep", description=ABOUT)
def sweep(
    name: str,
    sources: list[str],
    trials: list[int],
    space: str = "default",
    base_model: str = "fledgling",
    rules: str = "default",
    recipe: dict[str, Any] = {},  # noqa: B006 - Kubeflow reads the default into the compiled pipeline
    limit: int = 0,
    seed: int = 42,
    budget: float = 0.0,
    minutes: float = 0.0,
    basis: str = "",
    max_cost: float = 0.0,
    parent_run: str = "",
) -> None:
    """`trials`: their numbers, 1 to as many as there are. `recipe`: what is not searched, and the first trial.

    `budget`: US dollars for the whole run; `minutes` the same; 0 sets no limit. `parent_run`: the MLflow run of this pipeline run, in
    which the trials find one another.
    """
    wanted = Wanted(name, sources, base_model, rules, recipe, limit, seed, budget, basis=basis, max_cost=max_cost)
    data = collect(wanted, parent_run, _here)
    # One after the other: two trainings share this machine's cores, and each would wait for what the other finds.
    train(search(wanted, Search(trials, space, minutes), parent_run, data, _here, at_once=1), parent_run, data, _here)


def sweep_on_a_cluster(placement: Placement, at_once: int) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """The same pipeline for Kubeflow Pipelines, `at_once` trials at a time; it begins and ends its own MLflow run."""

    @dsl.pipeline(name="mynah-sweep", description=ABOUT, pipeline_config=placement.config())
    def sweep(
        name: str,
        sources: list[str],
        trials: list[int],
        space: str = "default",
        base_model: str = "fledgling",
        rules: str = "default",
        recipe: dict[str, Any] = {},  # noqa: B006
        limit: int = 0,
        seed: int = 42,
        budget: float = 0.0,
        minutes: float = 0.0,
        basis: str = "",
        max_cost: float = 0.0,
        serve_in: str = "",
    ) -> None:
        wanted = Wanted(name, sources, base_model, rules, recipe, limit, seed, budget, basis=basis, max_cost=max_cost)
        place = placement.place
        with dsl.ExitHandler(place(close(kfp_run=RUN_ID, bots=[])), name="run"):
            run = place(
                begin(
                    name=name, base_model=base_model, rules=rules, recipe=recipe, limit=limit, budget=budget, kfp_run=RUN_ID
                )
            ).output  # fmt: skip
            data = collect(wanted, run, place)
            found = search(wanted, Search(trials, space, minutes), run, data, place, at_once)
            version, decision = train(found, run, data, place)
            place(deploy(name=name, version=version, decision=decision, namespace=serve_in, parent_run=run))

    return sweep
