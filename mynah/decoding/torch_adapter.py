"""An adapter by torch's operations: on a GPU, and where numba is not installed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mynah.decoding.adapter_parts import QKV, UP, parts_of
from mynah.decoding.body import Body
from mynah.models.adapter_weights import Matrices
from mynah.models.architecture import Architecture


class TorchAdapter:
    """One adapter, in the type that the kernels compute with. `nbytes`: what it takes."""

    is_exact = False  # torch adds up the products of one row in another order than those of more

    def __init__(self, matrices: Matrices, scale: float, body: Body) -> None:
        """Put an adapter's matrices where the kernels compute.

        Args:
            matrices: Of `read_adapter`.
            scale: Of the products.
            body: Of its base model.
        """
        self.parts: dict[
            tuple[int, int], tuple[Tensor, Tensor]
        ] = {}  # by block and part: A [rank, in] and B, scaled, [outputs, rank]
        for number, layer in enumerate(body.layers):
            within = {QKV: layer.within_qkv, UP: layer.within_up}
            for place, part in enumerate(parts_of(body.architecture)):
                found = matrices.get(f"{number}.{part.name}")
                if found is None:
                    continue
                a, b = (each.to(body.device, torch.float32) for each in found)
                norm = within.get(part.product)
                a = a if norm is None else a * norm
                b = b[part.skipped : part.skipped + part.outputs] * (scale * part.factor)
                self.parts[number, place] = a.to(body.kernels.dtype), b.to(body.kernels.dtype)
        self.nbytes = sum(a.nbytes + b.nbytes for a, b in self.parts.values())


class TorchRows:
    """The adapters of the rows that are computed together: the rows of each adapter are multiplied at once."""

    def __init__(self, adapters: Sequence[TorchAdapter | None], of: Architecture, device: torch.device) -> None:
        """`adapters`: of each row."""
        rows: dict[TorchAdapter, list[int]] = {}
        for number, adapter in enumerate(adapters):
            if adapter:
                rows.setdefault(adapter, []).append(number)
        self._rows = [(adapter, torch.tensor(several, device=device)) for adapter, several in rows.items()]
        self._parts = [(place, part) for place, part in enumerate(parts_of(of))]

    def add(self, number: int, product: int, x: Tensor, y: Tensor) -> Tensor:
        """Return a product of a block with what the adapters add.

        Args:
            number: The block's.
            product: Of `adapter_parts`.
            x: [rows, in], what was multiplied.
            y: [rows, out], its product with the base model's matrix; changed in place.
        """
        for place, part in self._parts:
            if part.product != product:
                continue
            target = y[:, part.first : part.first + part.outputs]
            for adapter, rows in self._rows:
                if matrices := adapter.parts.get((number, place)):
                    a, b = matrices
                    target.index_add_(0, rows, (x[rows] @ a.T) @ b.T)
        return y
