"""finetune as a Kubeflow step."""

from typing import Any

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def finetune(
    base_model: str,
    recipe: dict[str, Any],
    budget: float,
    parent_run: str,
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
) -> None:
    """A Hugging Face checkpoint of `base_model` fine-tuned on the texts; `recipe` holds a preset and what it changes.

    `budget`: US dollars that the pipeline run may cost; 0 sets no limit.
    """
    from pathlib import Path

    from components.costs import seconds_within, spent
    from components.finetune import FinetuneSettings
    from components.finetune import finetune as work
    from components.finetune.recipe import build
    from components.steps import step

    with step("finetune", parent_run, model=model.path) as run:
        seconds = seconds_within(budget, spent(parent_run) or 0.0)
        settings = FinetuneSettings(base_model, build(**recipe), seconds)
        run.params({"base_model": Path(base_model).name, **settings.recipe.to_record()})
        record = work(Path(data.path), Path(model.path), settings, run.step_metrics)
        run.params({"device": record["device"], "precision": record["precision"], "best_epoch": record["best_epoch"]})
        run.tags({"mynah.data_digest": record["data_digest"], "mynah.held_out_digest": record["held_out_digest"]})
        run.metrics({"train_seconds": record["seconds"], "tokens_per_second": record["tokens_per_second"]})
        run.artifacts(Path(model.path), "training", ["training.json", "steps.jsonl"])
        model.metadata["framework"] = "transformers"
