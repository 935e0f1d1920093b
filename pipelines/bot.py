"""The pipeline of one bot: posts in, a judged, recorded and promoted model out. The same on a laptop, in containers, on a cluster."""

from typing import Any

from kfp import dsl

from components.card.component import card
from components.evaluate.component import evaluate
from components.fetch.component import fetch
from components.filter.component import filter_posts
from components.finetune.component import finetune
from components.promote.component import promote
from components.register.component import register
from components.steps import IMAGE


@dsl.pipeline(name="mynah-bot", description="Fetch a person's posts, fine-tune a GPT-2 on them, judge, record and promote it.")
def bot(
    name: str,
    sources: list[str],
    base_model: str = "fledgling",
    rules: str = "default",
    recipe: dict[str, Any] = {},  # noqa: B006 - Kubeflow reads the default into the compiled pipeline
    limit: int = 0,
    seed: int = 42,
    budget: float = 0.0,
    parent_run: str = "",
) -> None:
    """`recipe`: {"preset": …, "changes": {…}}. `budget`: US dollars for the whole run; 0 sets no limit.

    `parent_run`: the MLflow run of this pipeline run; "" records nothing.
    """
    raw = fetch(sources=sources, limit=limit, parent_run=parent_run, kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    data = filter_posts(rules=rules, seed=seed, parent_run=parent_run, raw=raw.outputs["raw"])
    model = finetune(base_model=base_model, recipe=recipe, budget=budget, parent_run=parent_run, data=data.outputs["data"])
    report = evaluate(
        base_model=base_model, seed=seed, parent_run=parent_run, model=model.outputs["model"], data=data.outputs["data"]
    )
    about = card(
        name=name, parent_run=parent_run,
        model=model.outputs["model"], data=data.outputs["data"], report=report.outputs["report"],
    )  # fmt: skip
    version = register(
        name=name, parent_run=parent_run,
        model=model.outputs["model"], report=report.outputs["report"], card=about.outputs["card"],
    )  # fmt: skip
    decision = promote(name=name, version=version.output, parent_run=parent_run)

    # An image that is named by its digest tells the steps which one they run in.
    for task in (raw, data, model, report, about, version, decision) if "@" in IMAGE else ():
        task.set_env_variable("MYNAH_IMAGE", IMAGE)

    # What has an effect outside the pipeline, or reads what changes outside it, is never taken from the cache.
    for task in (raw, about, version, decision):
        task.set_caching_options(enable_caching=False)
