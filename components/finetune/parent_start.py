"""What training that continues from a model starts from: its weights, or its adapter beside the base model."""

from dataclasses import replace
from pathlib import Path

from components.finetune.parent_model import ParentModel
from components.finetune.settings import FinetuneSettings
from mynah.core.progress import notify
from mynah.models.adapter import check_adapter, is_adapter
from mynah.models.merged import write_merged


def settings_from(parent: ParentModel, settings: FinetuneSettings, scratch: Path) -> FinetuneSettings:
    """Return the settings of a training run that starts from the parent's weights.

    An adapter goes on where the recipe has its rank. Elsewhere the parent's weights, its adapter merged into them, are what is trained, and
    the result is a full model: an adapter on them would need them stored as a base model.

    Args:
        parent: the model to continue from.
        settings: those of starting over.
        scratch: a folder for merged weights.

    Raises:
        InputError: the parent's adapter, or its base model, is broken or missing.
    """
    rank = settings.recipe.lora_rank
    full = replace(settings.recipe, merge=True) if rank else settings.recipe
    if not is_adapter(parent.folder):
        if rank:
            notify(f"{parent.label} is a full model: continuing merges the adapter of rank {rank} into it at the end")
        return replace(settings, base_model=str(parent.folder), recipe=full)
    own = check_adapter(parent.folder).rank
    if own == rank:
        return replace(settings, adapter=str(parent.folder))
    trained = f"an adapter of rank {rank}" if rank else "all weights"
    notify(
        f"{parent.label} is an adapter of rank {own}, and the recipe trains {trained}: continuing starts from the adapter merged into its base "
        "model, and gives a full model"
    )
    merged = scratch / "merged"
    write_merged(parent.folder, merged)
    return replace(settings, base_model=str(merged), recipe=full)
