"""Refuses a base model that no training step fits into memory with, before its weights are loaded."""

from components.finetune.derived_settings import BYTES_PER_WEIGHT
from mynah.core.errors import InputError
from mynah.core.machine import free_memory
from mynah.models.architecture import read_architecture
from mynah.models.base_models import BaseModel
from mynah.models.catalogue import largest_that_fits
from mynah.models.checkpoint import check_folder
from mynah.training.recipe import Recipe

BYTES_PER_FROZEN_WEIGHT = 4  # with adapters: the weights themselves, in fp32
GB = 1e9


def require_memory(base: BaseModel, recipe: Recipe) -> None:
    """Raise InputError where training needs more memory than is free, whatever the rows: a lower bound, so that none is refused that fits.

    Nothing is refused on a machine with a GPU, whose memory only the training loop asks for.
    """
    parameters = read_architecture(check_folder(base.folder), base.folder).parameters
    each = BYTES_PER_FROZEN_WEIGHT if recipe.lora_rank else BYTES_PER_WEIGHT
    free = free_memory()
    if free is None or parameters * each <= free or _has_gpu():
        return
    problem = (
        f"the base model {base.name} has {parameters / 1e6:,.0f} million weights: training it takes at least {parameters * each / GB:,.1f} GB of "
        f"memory, and {free / GB:,.1f} GB are free"
    )
    fitting = largest_that_fits(free / each)
    smaller = f"Use --base-model {fitting.name}, the largest of `mynah bases` that fits" if fitting else "Free memory"
    adapters = ", or adapters: --set lora_rank=8" if not recipe.lora_rank and parameters * BYTES_PER_FROZEN_WEIGHT <= free else ""
    raise InputError(problem, f"{smaller}{adapters}.")


def _has_gpu() -> bool:
    import torch  # takes seconds, so only where memory is short

    return torch.cuda.is_available()
