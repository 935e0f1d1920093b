"""The pipeline of one bot, from posts to a promoted model; the same on a laptop, in containers and on a cluster."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl

from components.card.component import card
from components.check_new_data.component import check_new_data
from components.check_new_data.step import NEW
from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.fetch.component import fetch
from components.filter.component import filter_posts
from components.finetune.component import finetune
from components.finish_run.component import finish_run
from components.promote.component import promote
from components.register.component import register
from components.start_run.component import start_run
from mynah.models.catalogue import BEST_LOCAL
from pipelines.flat_signature import flatten
from pipelines.placement import NEEDS, Placement

ABOUT = "Fetch a person's posts, fine-tune a base model on them, judge, record and promote it."
RUN_ID = dsl.PIPELINE_JOB_ID_PLACEHOLDER
ConfigureTask = Callable[[dsl.PipelineTask], dsl.PipelineTask]  # configures a task for the place where it runs


@dataclass(frozen=True, slots=True)
class PipelineInputs:
    """The pipeline's parameters, as `RunSpec.pipeline_arguments` returns them.

    While a pipeline is compiled or run, the values are Kubeflow's placeholders.
    """

    name: str
    sources: list[str]
    base_model: str = BEST_LOCAL
    rules: str = "default"
    recipe: dict[str, Any] = field(default_factory=dict)  # {"preset": …, "changes": {…}}
    limit: int = 0
    seed: int = 42
    budget: float = 0.0  # US dollars for the whole run; 0: no limit
    start: str = "base"  # the model from which fine-tuning starts: base, or champion
    basis: str = ""  # the legal basis for posts whose source records none
    max_cost: float = 0.0  # US dollars for X's API; 0: nothing, -1: no limit
    columns: dict[str, str] = field(default_factory=dict)  # of tables: the names of the columns text, author and time


def start_parent_run(inputs: PipelineInputs, place: ConfigureTask) -> Any:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Start the MLflow run of a pipeline run on a cluster.

    Args:
        inputs: The pipeline's parameters.
        place: Configures a task for the place where it runs.

    Returns:
        The MLflow run's id, in which the other steps record their results.
    """
    started = start_run(
        name=inputs.name, base_model=inputs.base_model, rules=inputs.rules, recipe=inputs.recipe, limit=inputs.limit,
        budget=inputs.budget, kfp_run=RUN_ID,
    )  # fmt: skip
    return place(started).output


def collect(inputs: PipelineInputs, parent_run: Any, place: ConfigureTask) -> Any:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Fetch the posts of the sources and filter them.

    Args:
        inputs: The pipeline's parameters.
        parent_run: The MLflow run that the steps record in.
        place: Configures a task for the place where it runs.

    Returns:
        The folder of texts, an output of the step filter.
    """
    raw = place(
        fetch(
            sources=inputs.sources, limit=inputs.limit, basis=inputs.basis, max_cost=inputs.max_cost, columns=inputs.columns,
            parent_run=parent_run, kfp_run=RUN_ID,
        )
    )  # fmt: skip
    data = place(filter_posts(rules=inputs.rules, seed=inputs.seed, parent_run=parent_run, raw=raw.outputs["raw"]))
    return data.outputs["data"]


def train(inputs: PipelineInputs, parent_run: Any, data: Any, place: ConfigureTask) -> tuple[Any, Any]:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Fine-tune, evaluate, describe, register and promote a model.

    Args:
        inputs: The pipeline's parameters.
        parent_run: The MLflow run that the steps record in.
        data: The folder of texts.
        place: Configures a task for the place where it runs.

    Returns:
        The version's number and the decision about it, outputs of the steps register and promote.
    """
    base, run = inputs.base_model, parent_run
    tuned = place(
        finetune(
            base_model=base, recipe=inputs.recipe, budget=inputs.budget, name=inputs.name, start=inputs.start, parent_run=run, data=data
        )
    )  # fmt: skip
    model = tuned.outputs["model"]
    judged = place(evaluate(name=inputs.name, base_model=base, seed=inputs.seed, parent_run=run, model=model, data=data))
    report = judged.outputs["report"]
    about = place(card(name=inputs.name, parent_run=run, model=model, data=data, report=report)).outputs["card"]
    version = place(register(name=inputs.name, parent_run=run, model=model, report=report, card=about))
    decision = place(promote(name=inputs.name, version=version.output, parent_run=run))
    return version.output, decision.output


def _configure_local(task: dsl.PipelineTask) -> dsl.PipelineTask:
    return task.set_caching_options(enable_caching=NEEDS[task.component_spec.name].cached)


@dsl.pipeline(name="mynah-bot", description=ABOUT)
@flatten
def bot(inputs: PipelineInputs, parent_run: str = "") -> None:
    """The pipeline on this machine. `parent_run`: the MLflow run of this pipeline run; "" records nothing."""
    data = collect(inputs, parent_run, _configure_local)
    train(inputs, parent_run, data, _configure_local)


def build_bot_tasks(inputs: PipelineInputs, only_news: Any, place: ConfigureTask, serve_in: Any = None) -> None:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Build all tasks of one bot on a cluster, from the start of its MLflow run to its deployment.

    Args:
        inputs: The pipeline's parameters.
        only_news: Whether to skip training without new posts.
        place: Configures a task for the cluster.
        serve_in: The namespace of the bot's own service, "" for none; None omits the step deploy.
    """
    run = start_parent_run(inputs, place)
    data = collect(inputs, run, place)
    news = place(check_new_data(name=inputs.name, only_news=only_news, start=inputs.start, parent_run=run, data=data))
    # The only condition of the pipeline: without it, a GPU node would start although there is nothing to train.
    with dsl.If(news.output == NEW, name="with-news"):
        version, decision = train(inputs, run, data, place)
        if serve_in is not None:
            place(deploy(name=inputs.name, version=version, decision=decision, namespace=serve_in, parent_run=run))


def on_a_cluster(placement: Placement) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """Return the pipeline for Kubeflow Pipelines, which also starts and ends its MLflow run and can skip runs without new posts."""

    @dsl.pipeline(name="mynah-bot", description=ABOUT, pipeline_config=placement.config())
    @flatten
    def bot(inputs: PipelineInputs, only_news: bool = False, serve_in: str = "") -> None:
        with dsl.ExitHandler(placement.place(finish_run(kfp_run=RUN_ID, bots=[])), name="run"):
            build_bot_tasks(inputs, only_news, placement.place, serve_in)

    return bot
