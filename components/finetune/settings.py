"""The settings of the fine-tuning step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mynah.models.base_models import FLEDGLING
from mynah.training.node_request import NodeRequest
from mynah.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """The user's choices for fine-tuning."""

    base_model: str = FLEDGLING
    recipe: Recipe = field(default_factory=Recipe)
    seconds: float | None = None  # time limit for the whole step; the best model by then is kept
    checkpoints: str = ""  # folder or s3:// address for training states, from which an interrupted run resumes; "" keeps none
    checkpoint_seconds: float = 300.0  # between two training states
    processes: int = 0  # processes on this machine that train together; 0: one per GPU, or one
    parent_authors: Sequence[
        str
    ] = ()  # authors whose posts the base model was fine-tuned on: its training states hold their data too
    adapter: str = ""  # folder of an adapter of the base model to go on from; "": adapters start by adding nothing
    nodes: NodeRequest | None = None  # nodes of a cluster that train instead of this process
    home: str = ""  # the address in Mynah's bucket below which the step and its nodes exchange files
