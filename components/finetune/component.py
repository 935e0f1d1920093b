"""finetune as a Kubeflow step."""

from typing import Any

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def finetune(
    base_model: str,
    recipe: dict[str, Any],
    budget: float,
    name: str,
    start: str,
    parent_run: str,
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
) -> None:
    """A Hugging Face checkpoint of `base_model` fine-tuned on the texts; `recipe` holds a preset and what it changes.

    `budget`: US dollars that the pipeline run may cost; 0 sets no limit. `name`: the bot, under which training states are kept: an
    attempt after this one goes on where this one was ended. `start`: base, or champion: from the bot's champion, where it has one.
    """
    from pathlib import Path

    from components.costs import seconds_within, spent
    from components.finetune import FinetuneSettings
    from components.finetune.continual import finetune_from as work
    from components.finetune.recipe import DERIVED, build
    from components.finetune.states import seconds_between_states, states_of
    from components.steps import step

    with step("finetune", parent_run, model=model.path) as run:
        seconds = seconds_within(budget, spent(parent_run) or 0.0)
        settings = FinetuneSettings(base_model, build(**recipe), seconds, states_of(name), seconds_between_states())
        run.params({"base_model": Path(base_model).name, "start": start, **settings.recipe.known()})
        record = work(start, name, run, Path(data.path), Path(model.path), settings)
        run.params({key: record["recipe"][key] for key in DERIVED})
        run.params({key: record[key] for key in ("device", "precision", "processes", "best_epoch", "stopped_early")})
        run.tags({"mynah.data_digest": record["data_digest"], "mynah.held_out_digest": record["held_out_digest"]})
        speed = ("tokens_per_second", "flops_utilisation", "memory_gb")  # of the training as a whole; the curves have each step's
        run.metrics({"train_seconds": record["seconds"], **{f"train_{key}": record[key] for key in speed}})
        run.artifacts(Path(model.path), "training", ["training.json", "steps.jsonl"])
        model.metadata["framework"] = "transformers"
