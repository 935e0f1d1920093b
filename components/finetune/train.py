"""The training loop, readable top to bottom."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from components import canaries
from components.checkpoint import Checkpoint
from components.errors import InputError, MynahError, PlatformError
from components.events import progress, say
from components.finetune import plan
from components.finetune.batches import Batch, Epochs, encode_texts, predicted
from components.finetune.interrupts import Interrupts
from components.finetune.learner import Learner
from components.finetune.objective import Objective
from components.finetune.processes import Processes
from components.finetune.recipe import Recipe
from components.finetune.throughput import flops_per_token, memory_gb, peak
from components.generation import encode
from components.machine import free_memory
from components.scoring import nats_of, rows

if TYPE_CHECKING:
    from components.finetune.states import State, States

OnStep = Callable[[int, dict[str, float]], None]
Texts = Mapping[str, Sequence[str]]  # by author
NOT_IN_A_METRIC = re.compile(r"[^A-Za-z0-9_.-]")  # MLflow refuses the @ of ann@example.org
EXPLODED = 2.0  # times the loss of a model that knows nothing, or of the base model where that is higher


@dataclass(frozen=True, slots=True)
class Epoch:
    """Where the model stood after an epoch; epoch 0 is before training. Losses in nats per token."""

    epoch: int
    train_loss: float | None
    held_out_loss: float
    by_author: Mapping[str, float] = field(default_factory=dict)  # held-out loss, where there are several


@dataclass(slots=True)
class Progress:
    """How far training is: all of it that is not a tensor, and no more than JSON holds."""

    history: list[Epoch] = field(default_factory=list)
    epoch: int = 1
    batch: int = 0  # of the epoch, how many are learnt
    step: int = 0
    epoch_nats: float = 0.0
    epoch_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    resumed_at: list[int] = field(default_factory=list)  # steps

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Progress":
        """What `to_record` wrote."""
        return cls(**{**record, "history": [Epoch(**each) for each in record["history"]]})

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest held-out loss, the first of equals."""
        return min(self.history, key=lambda past: past.held_out_loss)


@dataclass(frozen=True, slots=True)
class Result:
    """What training did."""

    recipe: Recipe  # with nothing left open
    history: Sequence[Epoch]
    best_epoch: int
    steps: int
    tokens: int  # predicted in training, all epochs
    seconds: float  # training only, without the held-out evaluations
    device: str
    precision: str
    flops_utilisation: float  # of the device's peak, see throughput.py
    memory_gb: float  # the most it took
    processes: int
    out_of_time: bool  # it ended at its deadline, before the recipe's last step
    stopped_early: bool  # further epochs would not have helped
    resumed_at: Sequence[int]  # the steps at which it went on after an interruption

    def to_record(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"tokens_per_second": round(self.tokens / self.seconds, 1), "seconds": round(self.seconds, 2)}


class Training:
    """One training of `checkpoint.model`, in place, on the texts of `train`; `run` does it.

    Deterministic for a seed on one machine, where it ends before `deadline` (of `time.monotonic`): there it stops after a step, one at
    least, in time to measure and keep what it has. With `states` it goes on where an earlier one of the same inputs was interrupted, and
    saves its own state every `every` seconds and at a SIGTERM or Ctrl-C, before it raises KeyboardInterrupt.
    """

    def __init__(
        self, checkpoint: Checkpoint, train: Texts, held_out: Texts, recipe: Recipe, processes: Processes,
        learnt_from: Sequence[str] = (),
    ) -> None:  # fmt: skip
        torch.manual_seed(recipe.seed)
        self._checkpoint, self._processes = checkpoint, processes
        self._held_out = {author: rows(checkpoint, theirs) for author, theirs in held_out.items()}
        self._authors = sorted({*train, *held_out, *learnt_from})
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        checkpoint.model.to(device)
        bf16 = recipe.bf16 and computes_in_bf16(device.type)
        self._precision = "bf16" if bf16 else "fp32"
        texts, config = encode_texts(checkpoint, train), checkpoint.model.config
        tokens = sum(len(text.ids) + 1 for theirs in texts.values() for text in theirs)
        free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else free_memory()
        self.recipe = plan.derive(recipe, config, tokens, free, self._precision)
        planted = [encode(checkpoint, text) for text in canaries.texts(recipe.canaries, recipe.seed)]
        self._epochs = Epochs(texts, self.recipe, checkpoint.end, checkpoint.context, planted)
        self._objective = Objective(checkpoint.model, self.recipe, bf16=bf16)
        self._learner = Learner(self._objective, self.recipe, processes)
        self._steps = self._epochs.steps * recipe.epochs
        self._flops = (
            flops_per_token(config, self.recipe.block) / peak(device, torch.bfloat16 if bf16 else torch.float32) / processes.size
        )
        self._at = Progress()
        self._best = self._learner.weights()
        self._late = self._asked = False
        self.log: list[dict[str, float]] = []  # what `on_step` was told, with the step

    def run(self, on_step: OnStep, deadline: float = math.inf, states: "States | None" = None, every: float = math.inf) -> Result:
        """Train, and leave the model at the epoch with the lowest held-out loss.

        `on_step(step, metrics)` is called after every optimiser step, and with the held-out loss before the first and after each epoch.
        Raises MynahError when the loss is no longer a number or explodes, and InputError when it never was one.
        """
        self._on_step, self._states, self._every, self._saved = on_step, states, every, time.monotonic()
        if states:
            states.require_space(self._learner.state_bytes())
            self._resume(states.newest())
        began = time.monotonic()
        if not self._at.history:
            self._begin()
        self._deadline = deadline - 2 * (time.monotonic() - began)  # the last epoch is measured too, and saved
        if self._processes.first:
            say(plan.told(self.recipe, self._epochs.steps, self._precision, self._processes.size))
        with (
            Interrupts(remember=states is not None) as self._interrupts,
            progress("Fine-tuning", self._steps, "steps") as self._advance,
        ):
            self._advance(self._at.step)
            for number, batches in zip(range(1, self.recipe.epochs + 1), self._epochs, strict=False):
                if number >= self._at.epoch and not self._is_over():
                    self._learn_epoch(batches)
                    self._end_epoch()
        self._learner.load_weights(self._best)
        return self._result(self._objective.finish())

    def _begin(self) -> None:
        self._at.history.append(self._evaluate(None))

    def _learn_epoch(self, batches: Sequence[Batch]) -> None:
        """The batches of an epoch that are still to be learnt."""
        self._checkpoint.model.train()
        for batch in batches[self._at.batch :]:
            began, count, at = time.monotonic(), predicted(batch), self._at
            learning_rate = self.recipe.learning_rate * rate(self.recipe, at.step, self._steps)
            nats, norm = self._learner.learn(batch, count, learning_rate)
            loss = self._checked(nats / count, at.step, learning_rate)
            seconds = time.monotonic() - began
            at.step, at.batch, at.tokens, at.seconds = at.step + 1, at.batch + 1, at.tokens + count, at.seconds + seconds
            at.epoch_nats, at.epoch_tokens = at.epoch_nats + nats, at.epoch_tokens + count
            self._report(loss, learning_rate, norm, count / seconds)
            self._agree()
            self._save_if_due()
            if self._late:
                break

    def _end_epoch(self) -> None:
        at = self._at
        epoch = self._evaluate(at.epoch_nats / at.epoch_tokens)
        at.history.append(epoch)
        at.epoch, at.batch, at.epoch_nats, at.epoch_tokens = at.epoch + 1, 0, 0.0, 0
        if at.best is epoch:
            self._best = self._learner.weights()
        self._agree()
        self._save_if_due()

    def _is_over(self) -> bool:
        """Whether no further epoch is to come, though the recipe has more."""
        return self._late or self._without_gain()

    def _without_gain(self) -> bool:
        return bool(self.recipe.patience) and self._at.epoch - 1 - self._at.best.epoch >= self.recipe.patience

    def _agree(self) -> None:
        """Whether the time is over, by the clock of the first process, and whether anybody was asked to end: all stop at the same step."""
        late = self._processes.first and self._at.step > 0 and time.monotonic() >= self._deadline
        flags = torch.tensor([late, self._interrupts.asked], dtype=torch.float32, device=self._checkpoint.model.device)
        self._late, self._asked = (flag > 0 for flag in self._processes.sum(flags).tolist())

    def _evaluate(self, train_loss: float | None) -> Epoch:
        """The held-out loss now, of all and of each author."""
        nats = {author: nats_of(self._checkpoint, self._processes.share(theirs)) for author, theirs in self._held_out.items()}
        summed = self._processes.sum(
            torch.tensor(list(nats.values()), dtype=torch.float32, device=self._checkpoint.model.device)
        ).tolist()
        tokens = [sum(len(row) - 1 for row in theirs) for theirs in self._held_out.values()]
        by_author = (
            {author: each / count for author, each, count in zip(nats, summed, tokens, strict=True)} if len(nats) > 1 else {}
        )
        epoch = Epoch(len(self._at.history), train_loss, sum(summed) / sum(tokens), by_author)
        self._check_held_out(epoch.held_out_loss)
        losses = {f"held_out_loss/{NOT_IN_A_METRIC.sub('-', author)}": loss for author, loss in by_author.items()}
        self._observe(self._at.step, {"held_out_loss": epoch.held_out_loss, **losses})
        return epoch

    def _observe(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._processes.first:
            self.log.append({"step": step, **metrics})
            self._on_step(step, dict(metrics))

    def _check_held_out(self, loss: float) -> None:
        """The last step's own update shows here first; before any step, a base model that is broken."""
        if self._at.history:
            self._checked(loss, self._at.step, self.recipe.learning_rate * rate(self.recipe, self._at.step - 1, self._steps))
        elif not math.isfinite(loss):
            raise InputError(f"the base model's loss is {loss} before any training: its weights are broken", "Use another.")

    def _checked(self, loss: float, step: int, learning_rate: float) -> float:
        lower = "Lower it, for example with --set learning_rate=1e-4."
        if not math.isfinite(loss):
            raise MynahError(f"the loss is no longer a number at step {step} (learning rate {learning_rate:.3g})", lower)
        worst = max(self._at.history[0].held_out_loss, math.log(self._checkpoint.model.config.vocab_size))
        if loss > EXPLODED * worst:
            raise MynahError(f"the loss explodes: {loss:,.1f} at step {step} (learning rate {learning_rate:.3g})", lower)
        return loss

    def _report(self, loss: float, learning_rate: float, norm: float, speed: float) -> None:
        metrics = {"train_loss": loss, "learning_rate": learning_rate, "grad_norm": norm, "tokens_per_second": speed}
        metrics |= {"flops_utilisation": speed * self._flops, "memory_gb": memory_gb(self._checkpoint.model.device)}
        self._observe(self._at.step, metrics)
        self._advance(1, f"epoch {self._at.epoch}/{self.recipe.epochs}, loss {loss:.3f}, {speed:,.0f} tokens/s")

    def _resume(self, state: "State | None") -> None:
        if not state:
            return
        self._at = Progress.from_record(state.values["progress"])
        self._at.resumed_at.append(self._at.step)
        self._best = self._learner.restore(state.tensors) or self._best
        for line in state.values["log"]:  # a run that begins anew in MLflow shall have the whole curve
            self._observe(int(line["step"]), {key: value for key, value in line.items() if key != "step"})
        if self._processes.first:
            say(f"going on at step {self._at.step} of {self._steps}, where an earlier run of the same inputs was interrupted")

    def _save_if_due(self) -> None:
        """Save the state when it is time or the process is to end; then it ends."""
        if self._states and self._processes.first and (self._asked or time.monotonic() - self._saved >= self._every):
            from components.finetune.states import State

            best = self._best if self._at.best.epoch else None  # the base model's are at hand
            values = {"progress": self._at.to_record(), "authors": self._authors, "log": self.log}
            try:
                self._states.save(State(self._at.step, self._learner.state(best), values))
            except PlatformError as error:  # a store that is away for a while costs no more than the state
                if self._asked:
                    raise
                say(f"no training state is kept at step {self._at.step}: {error.problem}", "warning")
            else:
                at, ends = f"{self._at.step} of {self._steps}", self._asked
                say(f"saved at step {at}: the same command goes on from there" if ends else f"the state of step {at} is kept")
            self._saved = time.monotonic()
        if self._asked:
            raise KeyboardInterrupt

    def _result(self, model: Any) -> Result:  # noqa: ANN401
        at, device = self._at, model.device
        memory = memory_gb(device)
        model.to("cpu").eval()
        return Result(
            replace(self.recipe, micro_batch_tokens=self._learner.micro_batch_tokens), at.history, at.best.epoch, at.step, at.tokens,
            at.seconds, device.type, self._precision, round(at.tokens / at.seconds * self._flops, 4), round(memory, 3), self._processes.size,
            self._late and at.step < self._steps, self._without_gain() and at.step < self._steps, at.resumed_at,
        )  # fmt: skip


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
