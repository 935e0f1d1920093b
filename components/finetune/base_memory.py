"""Refuses a base model that no training step fits into memory with, before its weights are loaded."""

from components.finetune.derived_settings import weight_bytes
from mynah.core.errors import InputError
from mynah.core.machine import free_memory
from mynah.models.architecture import read_architecture
from mynah.models.base_models import BaseModel
from mynah.models.catalogue import largest_that_fits
from mynah.models.checkpoint import check_folder
from mynah.training.recipe import Recipe

SMALL_RANK = 8  # of the adapters that are proposed
GB = 1e9


def require_memory(base: BaseModel, recipe: Recipe) -> None:
    """Raise InputError where training needs more memory than is free, whatever the rows: a lower bound, so that none is refused that fits.

    Nothing is refused on a machine with a GPU, whose memory only the training loop asks for.
    """
    of, free = read_architecture(check_folder(base.folder), base.folder), free_memory()
    needed = weight_bytes(of, recipe.lora_rank)
    if free is None or needed <= free or _has_gpu():
        return
    problem = (
        f"the base model {base.name} has {of.parameters / 1e6:,.0f} million weights: training it takes at least {needed / GB:,.1f} GB of "
        f"memory, and {free / GB:,.1f} GB are free"
    )
    fitting = largest_that_fits(free * of.parameters / needed)
    smaller = f"Use --base-model {fitting.name}, the largest of `mynah bases` that fits" if fitting else "Free memory"
    adapters = (
        f", or adapters: --set lora_rank={SMALL_RANK}" if not recipe.lora_rank and weight_bytes(of, SMALL_RANK) <= free else ""
    )
    raise InputError(problem, f"{smaller}{adapters}.")


def _has_gpu() -> bool:
    import torch  # takes seconds, so only where memory is short

    return torch.cuda.is_available()
