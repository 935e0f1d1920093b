"""The pipeline of one bot, from posts to a promoted model; the same on a laptop, in containers and on a cluster.

Its parameters and the steps' results are references (components/handover.py), the id of a run in MLflow, and numbers: what a person named is
in the run's specification, which the steps read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.evaluate.component import evaluate
from components.fetch.component import fetch
from components.filter.component import filter_posts
from components.filter.new_texts import NOTHING_NEW
from components.finetune.component import finetune
from components.finish_run.component import finish_run
from components.register.component import register
from pipelines.placement import NEEDS, Placement

ABOUT = "Fetch a person's posts, fine-tune a base model on them, judge, record and promote it."
RUN_ID = dsl.PIPELINE_JOB_ID_PLACEHOLDER
ConfigureTask = Callable[[dsl.PipelineTask], dsl.PipelineTask]  # configures a task for the place where it runs


@dataclass(frozen=True, slots=True)
class BotRun:
    """One bot in a pipeline run; the values are Kubeflow's placeholders, which kfp leaves untyped."""

    spec: Any  # the reference of its specification
    kfp_run: str  # the id of the Kubeflow run; "" on a laptop
    place: ConfigureTask
    parent_run: Any = ""  # its run in MLflow; "" on a cluster, where fetch starts it

    def step(self, component: Callable[..., dsl.PipelineTask], parent_run: Any, **inputs: Any) -> dsl.PipelineTask:  # noqa: ANN401 - see above
        """Make a task of a component, and configure it."""
        return self.place(component(spec=self.spec, kfp_run=self.kfp_run, parent_run=parent_run, **inputs))


def collect(bot_run: BotRun) -> tuple[Any, Any]:
    """Fetch the posts of the sources and filter them.

    Returns:
        The bot's run in MLflow, and the reference of the folder of texts.
    """
    fetched = bot_run.step(fetch, bot_run.parent_run)
    run = fetched.outputs["run"]
    return run, bot_run.step(filter_posts, run, raw=fetched.outputs["raw"]).output


def train(bot_run: BotRun, run: Any, data: Any, search: Any = "") -> None:  # noqa: ANN401 - outputs of tasks, which kfp leaves untyped
    """Fine-tune and evaluate a model; then describe, register, promote and deploy it.

    Args:
        bot_run: The bot.
        run: Its run in MLflow.
        data: The folder of texts.
        search: The folder of the step choose, whose recipe is taken; "": the specification's.
    """
    model = bot_run.step(finetune, run, data=data, search=search).output
    report = bot_run.step(evaluate, run, model=model, data=data).output
    bot_run.step(register, run, model=model, data=data, report=report)


def configure_local(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Configure a task for this machine."""
    return task.set_caching_options(enable_caching=NEEDS[task.component_spec.name].cached)


@dsl.pipeline(name="mynah-bot", description=ABOUT)
def bot(spec: str, parent_run: str = "") -> None:
    """The pipeline on this machine. `parent_run`: the MLflow run of this pipeline run; "" records nothing."""
    bot_run = BotRun(spec, "", configure_local, parent_run)
    train(bot_run, *collect(bot_run))


def build_bot_tasks(bot_run: BotRun, only_news: bool) -> None:
    """Build all tasks of one bot on a cluster, from the start of its MLflow run to its deployment.

    Args:
        bot_run: The bot.
        only_news: Whether its specification asks to end without training where there are no new posts. Only then is there a condition,
            for which a driver's pod starts; without it, a GPU node would start although there is nothing to train.
    """
    run, data = collect(bot_run)
    if not only_news:
        train(bot_run, run, data)
        return
    with dsl.If(data != NOTHING_NEW, name="with-news"):
        train(bot_run, run, data)


def on_a_cluster(placement: Placement, only_news: bool = False) -> Any:  # noqa: ANN401 - kfp's decorators carry no types
    """Return the pipeline for Kubeflow Pipelines, which also starts and ends its MLflow run and can skip runs without new posts."""

    @dsl.pipeline(name="mynah-bot", description=ABOUT, pipeline_config=placement.config())
    def bot(spec: str) -> None:
        with dsl.ExitHandler(placement.place(finish_run(kfp_run=RUN_ID, spec=spec, specs=[])), name="run"):
            build_bot_tasks(BotRun(spec, RUN_ID, placement.place), only_news)

    return bot
