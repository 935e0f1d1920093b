"""The pipeline of one bot: posts in, a judged, recorded and promoted model out. The same on a laptop, in containers, on a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.begin.component import begin
from components.card.component import card
from components.close.component import close
from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.fetch.component import fetch
from components.filter.component import filter_posts
from components.finetune.component import finetune
from components.news import NEW
from components.news.component import news
from components.promote.component import promote
from components.register.component import register
from pipelines.placing import NEEDS, Placement

ABOUT = "Fetch a person's posts, fine-tune a GPT-2 on them, judge, record and promote it."
RUN_ID = dsl.PIPELINE_JOB_ID_PLACEHOLDER
Place = Callable[[dsl.PipelineTask], dsl.PipelineTask]  # gives a task what its step needs where it runs


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bot is made of: the pipeline's parameters, each a value or Kubeflow's placeholder for one."""

    name: Any
    sources: Any
    base_model: Any
    rules: Any
    recipe: Any
    limit: Any
    seed: Any
    budget: Any
    start: Any = "base"  # what fine-tuning starts from; or the bot's champion
    basis: Any = ""  # on which posts may be used that do not tell their own
    max_cost: Any = 0.0  # US dollars for X's API; 0: none may be spent, -1: what it takes


def collect(wanted: Wanted, parent_run: Any, place: Place) -> Any:  # noqa: ANN401
    """Posts of the sources, filtered: the folder of texts."""
    raw = place(
        fetch(
            sources=wanted.sources, limit=wanted.limit, basis=wanted.basis, max_cost=wanted.max_cost, parent_run=parent_run, kfp_run=RUN_ID
        )
    )  # fmt: skip
    data = place(filter_posts(rules=wanted.rules, seed=wanted.seed, parent_run=parent_run, raw=raw.outputs["raw"]))
    return data.outputs["data"]


def train(wanted: Wanted, parent_run: Any, data: Any, place: Place) -> tuple[Any, Any]:  # noqa: ANN401
    """Texts to a champion: fine-tune, judge, describe, register, promote. The version, and what was decided about it."""
    base, run = wanted.base_model, parent_run
    tuned = place(
        finetune(
            base_model=base, recipe=wanted.recipe, budget=wanted.budget, name=wanted.name, start=wanted.start, parent_run=run, data=data
        )
    )  # fmt: skip
    model = tuned.outputs["model"]
    judged = place(evaluate(name=wanted.name, base_model=base, seed=wanted.seed, parent_run=run, model=model, data=data))
    report = judged.outputs["report"]
    about = place(card(name=wanted.name, parent_run=run, model=model, data=data, report=report)).outputs["card"]
    version = place(register(name=wanted.name, parent_run=run, model=model, report=report, card=about))
    decision = place(promote(name=wanted.name, version=version.output, parent_run=run))
    return version.output, decision.output


def _here(task: dsl.PipelineTask) -> dsl.PipelineTask:
    return task.set_caching_options(enable_caching=NEEDS[task.component_spec.name].cached)


@dsl.pipeline(name="mynah-bot", description=ABOUT)
def bot(
    name: str,
    sources: list[str],
    base_model: str = "fledgling",
    rules: str = "default",
    recipe: dict[str, Any] = {},  # noqa: B006 - Kubeflow reads the default into the compiled pipeline
    limit: int = 0,
    seed: int = 42,
    budget: float = 0.0,
    start: str = "base",
    basis: str = "",
    max_cost: float = 0.0,
    parent_run: str = "",
) -> None:
    """`recipe`: {"preset": …, "changes": {…}}. `budget`: US dollars for the whole run; 0 sets no limit.

    `start`: what fine-tuning starts from, base, or champion: the bot's. `basis`: on which posts may be used that do not tell their own
    (own-account, permission or public-figure-research). `max_cost`: US dollars for X's API; 0: none, -1: what it takes. `parent_run`:
    the MLflow run of this pipeline run; "" records nothing.
    """
    wanted = Wanted(name, sources, base_model, rules, recipe, limit, seed, budget, start, basis, max_cost)
    data = collect(wanted, parent_run, _here)
    train(wanted, parent_run, data, _here)


def make(wanted: Wanted, only_news: Any, place: Place, serve_in: Any = None) -> None:  # noqa: ANN401
    """All steps of one bot on a cluster, from its MLflow run to its promotion, and to its own service in the namespace `serve_in`."""
    run = place(
        begin(
            name=wanted.name, base_model=wanted.base_model, rules=wanted.rules, recipe=wanted.recipe, limit=wanted.limit,
            budget=wanted.budget, kfp_run=RUN_ID,
        )
    ).output  # fmt: skip
    data = collect(wanted, run, place)
    found = place(news(name=wanted.name, only_news=only_news, start=wanted.start, parent_run=run, data=data))
    # Control flow where all else is data: without it a GPU node would be started to do nothing. On a cluster the condition holds.
    with dsl.If(found.output == NEW, name="with-news"):
        version, decision = train(wanted, run, data, place)
        if serve_in is not None:
            place(deploy(name=wanted.name, version=version, decision=decision, namespace=serve_in, parent_run=run))


def on_a_cluster(placement: Placement) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """The same pipeline for Kubeflow Pipelines: it begins and ends its own MLflow run, and `only_news` lets it do nothing."""

    @dsl.pipeline(name="mynah-bot", description=ABOUT, pipeline_config=placement.config())
    def bot(
        name: str,
        sources: list[str],
        base_model: str = "fledgling",
        rules: str = "default",
        recipe: dict[str, Any] = {},  # noqa: B006
        limit: int = 0,
        seed: int = 42,
        budget: float = 0.0,
        start: str = "base",
        basis: str = "",
        max_cost: float = 0.0,
        only_news: bool = False,
        serve_in: str = "",
    ) -> None:
        wanted = Wanted(name, sources, base_model, rules, recipe, limit, seed, budget, start, basis, max_cost)
        with dsl.ExitHandler(placement.place(close(kfp_run=RUN_ID, bots=[])), name="run"):
            make(wanted, only_news, placement.place, serve_in)

    return bot
