"""One step of learning after another: gradients of a batch, as much of it at once as memory holds, and AdamW."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from components.errors import PlatformError
from components.events import say
from components.finetune.batches import Batch
from components.finetune.objective import Objective
from components.finetune.processes import Processes
from components.finetune.recipe import Recipe

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what torch's AdamW keeps of each weight


class Learner:
    """The weights in training with their optimiser: fused AdamW, its decay on matrices only (Loshchilov & Hutter 2019)."""

    def __init__(self, objective: Objective, recipe: Recipe, processes: Processes) -> None:
        self._objective, self._processes = objective, processes
        self._weights = objective.trainable()
        self._max_norm = recipe.max_grad_norm
        self.micro_batch_tokens = recipe.micro_batch_tokens
        self._block = recipe.block
        matrices = [weight for weight in self._weights.values() if weight.ndim >= 2]
        vectors = [weight for weight in self._weights.values() if weight.ndim < 2]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate, fused=True)

    def learn(self, batch: Batch, count: int, learning_rate: float) -> tuple[float, float]:
        """One step on a batch of `count` predicted tokens, of which this process takes its share: the nats of all, and the gradient's norm.

        Raises PlatformError when not even a single row fits into memory.
        """
        nats = self._processes.sum(self._gradients(batch, count)).item()
        self._processes.sum_gradients(self._weights.values())
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), self._max_norm).item()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return nats, norm

    def _gradients(self, batch: Batch, count: int) -> Tensor:
        """The batch's nats; their gradient per token is left in the weights. What does not fit into memory is tried again in halves."""
        rows = sorted(self._processes.share(batch), key=lambda row: sum(map(len, row)))  # alike lengths side by side
        while True:
            try:
                nats = loss = torch.zeros((), device=self._objective.model.device)
                for part in self._micro_batches(rows):
                    loss = self._objective.nats(part)
                    torch.autograd.backward(loss / count)
                    nats = nats + loss.detach()
                return nats
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            del loss  # what it holds is needed now
            self._optimizer.zero_grad(set_to_none=True)
            self._halve(len(rows))

    def _micro_batches(self, rows: Batch) -> Iterator[Batch]:
        at_once = max(1, self.micro_batch_tokens // self._block)
        for start in range(0, len(rows), at_once):
            yield rows[start : start + at_once]

    def _halve(self, rows: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        at_once = min(rows, max(1, self.micro_batch_tokens // self._block))
        if at_once == 1:
            raise PlatformError(
                "not even one row fits into memory", "Use a smaller base model, a smaller --set block=…, or --set lora_rank=8."
            )
        self.micro_batch_tokens = at_once // 2 * self._block
        say(f"out of memory: from now on {self.micro_batch_tokens:,} tokens at once", "warning")

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights in training, on the CPU."""
        return {name: weight.detach().to("cpu", copy=True) for name, weight in self._weights.items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take `weights`, such as an earlier `weights()`."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def state(self, best: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """All tensors that the next step depends on, and the `best` weights so far, if they are not the base model's."""
        found: dict[str, Tensor] = {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            found["random.cuda"] = torch.cuda.get_rng_state()
        for name, weight in self._weights.items():
            found[f"weight.{name}"] = weight.detach()
            found |= {f"{key}.{name}": self._optimizer.state[weight][key] for key in MOMENTS}
        return found | {f"best.{name}": tensor for name, tensor in (best or {}).items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take what `state` gave, and return the best weights in it; {} where the base model's were."""
        self.load_weights({name: tensors[f"weight.{name}"] for name in self._weights})
        for name, weight in self._weights.items():
            state: dict[str, Any] = {key: tensors[f"{key}.{name}"].clone() for key in MOMENTS}
            self._optimizer.state[weight] = {key: value.to(weight.device) for key, value in state.items()}
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return {name: tensors[f"best.{name}"].clone() for name in self._weights if f"best.{name}" in tensors}

    def state_bytes(self) -> int:
        """How large a saved state is: the weights, two moments and the best weights."""
        return 4 * sum(weight.nbytes for weight in self._weights.values())


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that memory ran out: OutOfMemoryError of CUDA, and of the CPU a RuntimeError in words."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "allocate memory" in str(error)
