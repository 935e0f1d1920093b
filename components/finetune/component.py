"""finetune as a Kubeflow step."""

from typing import Any

from kfp import dsl

from components.images import TRAIN_IMAGE


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
    """Fine-tune a base model on the filtered texts.

    Args:
        base_model: a name that `mynah bases` lists, a folder, or another name on the Hugging Face hub.
        recipe: a preset and the changes to it.
        budget: US dollars that the pipeline run may cost; 0 sets no limit.
        name: the bot. Training states are kept under its name, so that a retry resumes where this attempt was interrupted.
        start: "base", or "champion" to continue from the bot's champion, where it has one.
        parent_run: the pipeline run's id in MLflow.
        data: the filter step's texts.
        model: the checkpoint.
    """
    from pathlib import Path

    from components.finetune.continue_training import finetune_from
    from components.finetune.settings import FinetuneSettings
    from components.step_runtime import step
    from mynah.tracking.costs import seconds_within_budget, spent_so_far
    from mynah.training.recipe import DERIVED, build
    from mynah.training.state_store import seconds_between_states, states_of
    from mynah.training.training_record import STEPS_FILE, TRAINING_FILE

    with step("finetune", parent_run, model=model.path) as run:
        seconds = seconds_within_budget(budget, spent_so_far(parent_run) or 0.0)
        settings = FinetuneSettings(base_model, build(**recipe), seconds, states_of(name), seconds_between_states())
        run.params({"base_model": Path(base_model).name, "start": start, **settings.recipe.to_record()})
        record = finetune_from(start, name, run, Path(data.path), Path(model.path), settings)
        run.params({key: record.recipe[key] for key in DERIVED})
        run.params({key: getattr(record, key) for key in ("device", "precision", "processes", "best_epoch", "stopped_early")})
        run.tags({"mynah.data_digest": record.data_digest, "mynah.held_out_digest": record.held_out_digest})
        speed = (
            "seconds",
            "tokens_per_second",
            "flops_utilisation",
            "memory_gb",
        )  # of the whole run; the curves have each step's
        run.metrics({f"train_{key}": getattr(record, key) for key in speed if getattr(record, key)})  # 0: unknown
        run.artifacts(Path(model.path), "training", [TRAINING_FILE, STEPS_FILE])
        model.metadata["framework"] = "transformers"
