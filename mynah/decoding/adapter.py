"""A bot's adapter in memory, beside the body of its base model, and the adapters of the rows of a step."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from torch import Tensor

from mynah.decoding.body import Body
from mynah.models.adapter import check_adapter
from mynah.models.adapter_weights import read_adapter

if TYPE_CHECKING:
    from mynah.decoding.compiled_adapter import CompiledAdapter
    from mynah.decoding.torch_adapter import TorchAdapter

    Adapter = CompiledAdapter | TorchAdapter


class AdapterRows(Protocol):
    """The adapters of rows that are computed together."""

    def add(self, number: int, product: int, x: Tensor, y: Tensor) -> Tensor:
        """Return a product of a block with what the adapters add.

        Args:
            number: The block's.
            product: Of `adapter_parts`.
            x: [rows, in], what was multiplied.
            y: [rows, out], its product with the base model's matrix; it may be changed.
        """


def is_compiled(body: Body) -> bool:
    """Whether adapters of a body are computed by compiled functions, to the bit whatever runs beside them: on a CPU, where numba is."""
    return body.kernels.device == "cpu" and importlib.util.find_spec("numba") is not None


def load_adapter(folder: Path, body: Body) -> "Adapter":
    """Read an adapter into memory, in some 30 ms. Blocks.

    Args:
        folder: The adapter's.
        body: Of its base model.

    Raises:
        InputError: As `read_adapter`.
    """
    scale, matrices = check_adapter(folder).scale, read_adapter(folder, body.architecture)
    if is_compiled(body):
        from mynah.decoding.compiled_adapter import CompiledAdapter

        return CompiledAdapter(matrices, scale, body)
    from mynah.decoding.torch_adapter import TorchAdapter

    return TorchAdapter(matrices, scale, body)


def adapter_rows(adapters: Sequence["Adapter | None"], body: Body) -> AdapterRows | None:
    """Return what adds the adapters of rows, one for each row; None where no row has one."""
    if not any(adapters):
        return None
    if is_compiled(body):
        from mynah.decoding.compiled_adapter import CompiledRows

        return CompiledRows(cast("Sequence[CompiledAdapter | None]", adapters), body.architecture)
    from mynah.decoding.torch_adapter import TorchRows

    return TorchRows(cast("Sequence[TorchAdapter | None]", adapters), body.architecture, body.device)
