"""Optimizer steps: gradients of a batch, accumulated over micro-batches that fit into memory, and AdamW."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from components.finetune.data_packing import PackedBatch
from components.finetune.forward import TrainingForward
from components.finetune.process_group import ProcessGroup
from mynah.core.errors import PlatformError
from mynah.core.progress import notify
from mynah.training.recipe import Recipe

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # torch's AdamW state of each weight


class Optimizer:
    """The trainable weights with fused AdamW, which decays matrices only (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101)."""

    def __init__(self, forward: TrainingForward, recipe: Recipe, group: ProcessGroup) -> None:
        self._forward, self._group = forward, group
        self._weights = forward.trainable()
        for weight in forward.model.parameters():
            # Vectors are often fp32 in a file of bf16 matrices. Those are converted, and a vector would keep the whole file mapped.
            if weight.ndim < 2:
                weight.data = weight.data.clone()
        self._max_norm = recipe.max_grad_norm
        self.micro_batch_tokens = recipe.micro_batch_tokens
        self._block = recipe.block
        matrices = [weight for weight in self._weights.values() if weight.ndim >= 2]
        vectors = [weight for weight in self._weights.values() if weight.ndim < 2]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        used = [group for group in groups if group["params"]]
        self._adamw = torch.optim.AdamW(used, lr=recipe.learning_rate, betas=(0.9, recipe.beta2), fused=True)

    def step(self, batch: PackedBatch, count: int, learning_rate: float) -> tuple[float, float]:
        """Take one optimizer step.

        Args:
            batch: the rows of all processes; this process computes its share of them.
            count: predicted tokens of the whole batch.
            learning_rate: the learning rate of this step.

        Returns:
            The cross-entropy of the batch in nats, summed over its tokens, and the gradient's norm before clipping.

        Raises:
            PlatformError: not even one row fits into memory.
        """
        nats = self._group.sum(self._gradients(batch, count)).item()
        self._group.sum_gradients(self._weights.values())
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), self._max_norm).item()
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return nats, norm

    def _gradients(self, batch: PackedBatch, count: int) -> Tensor:
        """Accumulate the gradient per token in the weights; return this process's nats, a 0-d fp32 tensor.

        When memory runs out, the micro-batch is halved and the batch computed again.
        """
        rows = sorted(self._group.share(batch), key=lambda row: sum(map(len, row)))  # rows of similar length share a micro-batch
        while True:
            try:
                nats = loss = torch.zeros((), device=self._forward.model.device)
                for part in self._micro_batches(rows):
                    loss = self._forward.nats(part)
                    torch.autograd.backward(loss / count)
                    nats = nats + loss.detach()
                return nats
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            del loss  # frees the graph's memory
            self._adamw.zero_grad(set_to_none=True)
            self._halve_micro_batch(len(rows))

    def _micro_batches(self, rows: PackedBatch) -> Iterator[PackedBatch]:
        rows_at_once = max(1, self.micro_batch_tokens // self._block)
        for start in range(0, len(rows), rows_at_once):
            yield rows[start : start + rows_at_once]

    def _halve_micro_batch(self, rows: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        rows_at_once = min(rows, max(1, self.micro_batch_tokens // self._block))
        if rows_at_once == 1:
            raise PlatformError(
                "not even one row of the batch fits into memory",
                "Use a smaller base model, a smaller --set block=…, or --set lora_rank=8.",
            )
        self.micro_batch_tokens = rows_at_once // 2 * self._block
        notify(f"out of memory: from now on {self.micro_batch_tokens:,} tokens at once", "warning")

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The trainable weights themselves, by name."""
        return self._weights

    def state(self, best: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Return every tensor that the next step depends on.

        Args:
            best: the best weights so far; None while these are the base model's.

        Returns:
            By name: random.cpu and random.cuda (uint8 generator states), and for each trainable weight weight.NAME, its AdamW state
            (step.NAME a 0-d fp32 tensor, exp_avg.NAME and exp_avg_sq.NAME in the weight's shape and dtype) and best.NAME.
        """
        tensors: dict[str, Tensor] = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        for name, weight in self._weights.items():
            tensors[f"weight.{name}"] = weight.detach()
            tensors |= {f"{key}.{name}": self._adamw.state[weight][key] for key in MOMENTS}
        return tensors | {f"best.{name}": tensor for name, tensor in (best or {}).items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Load the tensors that `state` returned; return the best weights among them, {} where these were the base model's."""
        for name, weight in self._weights.items():
            weight.data.copy_(tensors[f"weight.{name}"])
            state: dict[str, Any] = {key: tensors[f"{key}.{name}"].clone() for key in MOMENTS}
            self._adamw.state[weight] = {key: value.to(weight.device) for key, value in state.items()}
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return {name: tensors[f"best.{name}"] for name in self._weights if f"best.{name}" in tensors}

    def state_bytes(self) -> int:
        """Return the size of a saved state in bytes: weights, two moments and best weights."""
        return 4 * sum(weight.nbytes for weight in self._weights.values())


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: CUDA raises OutOfMemoryError; the CPU allocator a RuntimeError with a message."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error)
