"""The training loop, readable top to bottom."""

import contextlib
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from components.checkpoint import Checkpoint
from components.errors import InputError, MynahError
from components.events import progress
from components.finetune.batches import PackedBatches, PostBatches
from components.finetune.recipe import Recipe
from components.scoring import pad, score, summed_loss

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Where the model stood after an epoch; epoch 0 is before training. Losses in nats per token."""

    epoch: int
    train_loss: float | None
    held_out_loss: float


@dataclass(frozen=True, slots=True)
class Result:
    """What training did."""

    history: Sequence[Epoch]
    best_epoch: int
    steps: int
    tokens: int  # predicted in training, all epochs
    seconds: float  # training only, without the held-out evaluations
    device: str
    precision: str
    out_of_time: bool = False  # it ended at its deadline, before the recipe's last step

    def to_record(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"tokens_per_second": round(self.tokens / self.seconds, 1), "seconds": round(self.seconds, 2)}


def train(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    held_out: Sequence[str],
    recipe: Recipe,
    on_step: OnStep,
    deadline: float = math.inf,
) -> Result:
    """Fine-tune `checkpoint.model` in place on `texts`, and leave it at the epoch with the lowest held-out loss.

    `on_step(step, metrics)` is called after every optimiser step, and at step 0 with the base model's held-out loss. Deterministic
    for a seed on one machine, where it ends before `deadline` (of `time.monotonic`): there it stops after a step, one at least, in time
    to measure and keep what it has.
    Raises MynahError when the loss is no longer a number, and InputError when it never was one.
    """
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    model, device = checkpoint.model, _device()
    model.to(device)
    _set_dropout(model, recipe.dropout)
    batches = (PackedBatches if recipe.packed else PostBatches)(checkpoint, texts, recipe.batch_size)
    steps = len(batches) * recipe.epochs
    optimizer = _optimizer(model, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(recipe, step, steps))
    bf16 = recipe.bf16 and computes_in_bf16(device)

    began = time.monotonic()
    history = [Epoch(0, None, _base_loss(checkpoint, held_out))]
    deadline -= 2 * (time.monotonic() - began)  # the last epoch is measured too, and saved
    on_step(0, {"held_out_loss": history[0].held_out_loss})
    best = {name: value.clone() for name, value in model.state_dict().items()}
    step, tokens, seconds = 0, 0, 0.0
    with progress("Fine-tuning", steps, "steps") as advance:
        for epoch in range(1, recipe.epochs + 1):
            began, epoch_nats, epoch_tokens = time.monotonic(), 0.0, 0
            model.train()
            for batch in batches.epoch(rng):
                count = sum(len(row) - 1 for row in batch)
                nats, metrics = _learn(checkpoint, batch, count, optimizer, recipe.max_grad_norm, bf16, step)
                schedule.step()
                step, epoch_nats, epoch_tokens = step + 1, epoch_nats + nats, epoch_tokens + count
                on_step(step, metrics)
                advance(1, f"epoch {epoch}/{recipe.epochs}, loss {metrics['train_loss']:.3f}")
                if time.monotonic() >= deadline:
                    break
            seconds, tokens = seconds + time.monotonic() - began, tokens + epoch_tokens
            # The last step's own update shows here first.
            held_out_loss = _number(score(checkpoint, held_out).loss, step, metrics["learning_rate"])
            history.append(Epoch(epoch, epoch_nats / epoch_tokens, held_out_loss))
            on_step(step, {"held_out_loss": history[-1].held_out_loss})
            if history[-1].held_out_loss == min(past.held_out_loss for past in history):
                best = {name: value.clone() for name, value in model.state_dict().items()}
            if time.monotonic() >= deadline:
                break
    model.load_state_dict(best)
    model.to("cpu").eval()
    best_epoch = min(history, key=lambda past: past.held_out_loss).epoch
    return Result(history, best_epoch, step, tokens, seconds, device, "bf16" if bf16 else "fp32", step < steps)


def _learn(
    checkpoint: Checkpoint,
    batch: Sequence[Sequence[int]],
    count: int,
    optimizer: torch.optim.Optimizer,
    max_grad_norm: float,
    bf16: bool,
    step: int,
) -> tuple[float, dict[str, float]]:
    """One optimiser step on a batch of `count` predicted tokens: its nats, and what is recorded of it. Raises MynahError."""
    learning_rate = float(optimizer.param_groups[0]["lr"])
    nats = _batch_loss(checkpoint, batch, bf16)
    loss = _number(nats.item() / count, step, learning_rate)
    torch.autograd.backward(nats / count)
    norm = torch.nn.utils.clip_grad_norm_(checkpoint.model.parameters(), max_grad_norm).item()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return nats.item(), {"train_loss": loss, "learning_rate": learning_rate, "grad_norm": norm}


def _base_loss(checkpoint: Checkpoint, held_out: Sequence[str]) -> float:
    loss = score(checkpoint, held_out).loss
    if not math.isfinite(loss):
        raise InputError(f"the base model's loss is {loss} before any training: its weights are broken", "Use another.")
    return loss


def _batch_loss(checkpoint: Checkpoint, batch: Sequence[Sequence[int]], bf16: bool) -> torch.Tensor:
    """Nats summed over the batch's tokens."""
    inputs, targets = pad(batch, checkpoint.end)
    device = checkpoint.model.device
    with torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
        return summed_loss(checkpoint.model, inputs.to(device), targets.to(device))


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate at `step` of `steps` as a share of the recipe's: linear warm-up, then the schedule."""
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    left = 1 - (step - warmup) / max(1, steps - warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    return left if recipe.schedule == "linear" else 1.0


def computes_in_bf16(device: str) -> bool:
    """Whether the device multiplies matrices in bf16 in hardware; elsewhere bf16 is slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def _set_dropout(model: torch.nn.Module, probability: float) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability


def _number(loss: float, step: int, learning_rate: float) -> float:
    if math.isfinite(loss):
        return loss
    raise MynahError(
        f"the loss is no longer a number at step {step} (learning rate {learning_rate:.3g})",
        "Lower it, for example with --set learning_rate=1e-4.",
    )
