"""finetune as a Kubeflow step."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def finetune(spec: str, kfp_run: str, parent_run: str, data: str, search: str) -> str:
    """Fine-tune a base model on the filtered texts.

    Training states are kept under the bot's name, so that a retry resumes where this attempt was interrupted.

    Args:
        spec: the reference of the run's specification.
        kfp_run: the id of the Kubeflow run; "" on a laptop.
        parent_run: the pipeline run's id in MLflow.
        data: the filter step's texts.
        search: the folder of the step choose, whose recipe is taken; "": the specification's.

    Returns:
        The reference of the checkpoint.
    """
    from pathlib import Path

    from components.finetune.continue_training import finetune_from
    from components.finetune.settings import FinetuneSettings
    from components.step_runtime import step
    from mynah.tracking.costs import seconds_within_budget, spent_so_far
    from mynah.training.node_request import requested_nodes
    from mynah.training.recipe import DERIVED, RECIPE_FILE, build, read
    from mynah.training.state_store import seconds_between_states, states_of
    from mynah.training.training_record import STEPS_FILE, TRAINING_FILE

    with step("finetune", spec, kfp_run, parent_run) as at:
        asked, run, model = at.inputs, at.run, at.files.new("model")
        recipe = read(at.files.open(search) / RECIPE_FILE) if search else build(**asked.recipe)
        seconds = seconds_within_budget(asked.budget, spent_so_far(at.parent_run) or 0.0)
        nodes = requested_nodes()
        settings = FinetuneSettings(
            asked.base_model, recipe, seconds, states_of(asked.name), seconds_between_states(), nodes=nodes, home=at.files.home
        )
        run.params({"base_model": Path(asked.base_model).name, "start": asked.start, **recipe.to_record()})
        record = finetune_from(asked.start, asked.name, run, at.files.open(data), model, settings)
        run.params({key: record.recipe[key] for key in DERIVED})
        ran = ("device", "device_name", "kernels", "precision", "processes", "best_epoch", "stopped_early")
        run.params({key: getattr(record, key) for key in ran})
        run.tags({"mynah.data_digest": record.data_digest, "mynah.held_out_digest": record.held_out_digest})
        speed = (
            "seconds",
            "tokens_per_second",
            "flops_utilisation",
            "memory_gb",
        )  # of the whole run; the curves have each step's
        run.metrics({f"train_{key}": getattr(record, key) for key in speed if getattr(record, key)})  # 0: unknown
        run.artifacts(model, "training", [TRAINING_FILE, STEPS_FILE])
        return at.files.hand_on("model")
