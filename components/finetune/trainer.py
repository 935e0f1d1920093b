"""The training loop."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components.finetune import derived_settings
from components.finetune.adapters import Adapters
from components.finetune.best_weights import BestWeights
from components.finetune.data_packing import Epochs, PackedBatch, encode_texts, predicted_tokens
from components.finetune.device import computes_in_bf16, device_name, kernels
from components.finetune.forward import TrainingForward
from components.finetune.learning_rate import learning_rate_factor
from components.finetune.optimizer_step import Optimizer
from components.finetune.process_group import ProcessGroup
from components.finetune.signal_handling import SignalGuard
from components.finetune.throughput import Utilisation, flops_per_token, memory_gb
from components.finetune.training_progress import Progress, TrainingResult
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.machine import free_memory
from mynah.core.progress import notify, progress
from mynah.models import canaries
from mynah.models.adapter_weights import Matrices
from mynah.models.checkpoint import Checkpoint
from mynah.models.sampling import encode
from mynah.models.scoring import token_rows, total_nats
from mynah.training.recipe import Recipe
from mynah.training.state_store import State
from mynah.training.training_record import EpochLosses

if TYPE_CHECKING:
    from mynah.training.state_store import State, States

OnStep = Callable[[int, dict[str, float]], None]
Texts = Mapping[str, Sequence[str]]  # by author
NOT_IN_A_METRIC = re.compile(r"[^A-Za-z0-9_.-]")  # MLflow refuses the @ of ann@example.org
DIVERGED = 2.0  # times the loss of a uniform distribution over the vocabulary, or of the base model where that is higher


class Trainer:
    """Trains `checkpoint.model` in place; `run` does the training.

    A run is reproducible for a seed on one machine, unless it ends at its deadline.

    Args:
        checkpoint: model and tokenizer.
        train: the training texts, by author.
        held_out: the held-out texts, by author.
        recipe: the recipe; derived settings may be left open.
        group: the processes that train together.
        scratch: a folder for the best epoch's weights, which need as much space as the model in memory.
        parent_authors: authors that the base model was fine-tuned on, for the record in the training state.
        start: what adapters start from; None: they add nothing at first.
    """

    def __init__(
        self, checkpoint: Checkpoint, train: Texts, held_out: Texts, recipe: Recipe, group: ProcessGroup,
        scratch: Path, parent_authors: Sequence[str] = (), start: Matrices | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(recipe.seed)
        self._checkpoint, self._group = checkpoint, group
        self._held_out = {author: token_rows(checkpoint, author_texts) for author, author_texts in held_out.items()}
        self._authors = sorted({*train, *held_out, *parent_authors})
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        checkpoint.model.to(device)
        bf16 = recipe.bf16 and computes_in_bf16(device.type)
        self._precision = "bf16" if bf16 else "fp32"
        if group.is_first:
            several = f"{group.size} x " if group.size > 1 else ""
            notify(f"training on {several}{device_name(device)} ({kernels(device)}) in {self._precision}")
        texts, architecture = encode_texts(checkpoint, train), checkpoint.architecture
        tokens = sum(len(text.ids) + 1 for author_texts in texts.values() for text in author_texts)
        free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else free_memory()
        self.recipe = derived_settings.derive(recipe, architecture, tokens, free, self._precision, device.type)
        canary_ids = [encode(checkpoint, text) for text in canaries.texts(recipe.canaries, recipe.seed)]
        self._epochs = Epochs(texts, self.recipe, checkpoint.begin, checkpoint.end, checkpoint.context, canary_ids)
        self._forward = TrainingForward(checkpoint, self.recipe, bf16=bf16, start=start)
        self._optimizer = Optimizer(self._forward, self.recipe, group)
        self._steps = self._epochs.steps * self.recipe.epochs
        flops = flops_per_token(architecture, self.recipe.block, adapters=bool(self.recipe.lora_rank))
        self._utilisation = Utilisation(flops, device, torch.bfloat16 if bf16 else torch.float32, group.size)
        self._progress = Progress()
        self._best = BestWeights(scratch, self._optimizer.weights)
        self._out_of_time = self._interrupted = False
        self.log: list[dict[str, float]] = []  # the metrics passed to `on_step`, each with its step

    def run(
        self, on_step: OnStep, deadline: float = math.inf, states: "States | None" = None, save_seconds: float = math.inf
    ) -> TrainingResult:
        """Train, and leave the model at the epoch with the lowest held-out loss.

        Args:
            on_step: called as `on_step(step, metrics)` after every optimizer step, and with the held-out loss before the first step and
                after each epoch.
            deadline: the time of `time.monotonic` at which training ends: after one step at least, early enough to evaluate and save.
            states: where training states are kept. Training resumes from the newest state of the same inputs.
            save_seconds: seconds between two training states.

        Returns:
            The outcome of training.

        Raises:
            MynahError: the loss is no longer finite, or diverges.
            InputError: the base model's own loss is not finite.
            KeyboardInterrupt: after SIGTERM or Ctrl-C, once the state is saved.
        """
        self._on_step, self._states, self._save_seconds, self._last_save = on_step, states, save_seconds, time.monotonic()
        if states:
            states.require_space(self._optimizer.state_bytes())
            self._resume(states.newest())
        started = time.monotonic()
        if not self._progress.history:
            self._evaluate_base_model()
        self._deadline = deadline - 2 * (time.monotonic() - started)  # leaves time to evaluate the last epoch and to save
        if self._group.is_first:
            notify(derived_settings.describe(self.recipe, self._epochs.steps, self._precision, self._group.size))
        with (
            SignalGuard(defer=states is not None) as self._signal_guard,
            progress("Fine-tuning", self._steps, "steps") as self._advance,
        ):
            self._advance(self._progress.step)
            for number, batches in zip(range(1, self.recipe.epochs + 1), self._epochs, strict=False):
                if number >= self._progress.epoch and not self._should_stop():
                    self._train_epoch(batches)
                    self._end_epoch()
        self._best.load_into(self._optimizer.weights)
        return self._result(self._checkpoint.model if self.adapters else self._forward.finish())

    @property
    def adapters(self) -> Adapters | None:
        """The adapters that are kept by themselves; None where the model is."""
        return None if self.recipe.merge else self._forward.adapters

    def _evaluate_base_model(self) -> None:
        self._progress.history.append(self._evaluate(None))

    def _train_epoch(self, batches: Sequence[PackedBatch]) -> None:
        """Train on the remaining batches of an epoch."""
        self._checkpoint.model.train()
        for batch in batches[self._progress.batch :]:
            started, count, current = time.monotonic(), predicted_tokens(batch), self._progress
            learning_rate = self.recipe.learning_rate * learning_rate_factor(self.recipe, current.step, self._steps)
            nats, norm = self._optimizer.step(batch, count, learning_rate)
            loss = self._require_sane_loss(nats / count, current.step, learning_rate)
            seconds = time.monotonic() - started
            current.step += 1
            current.batch += 1
            current.tokens += count
            current.seconds += seconds
            current.epoch_nats += nats
            current.epoch_tokens += count
            self._report_step(loss, learning_rate, norm, count / seconds)
            self._sync_stop_flags()
            self._save_if_due()
            if self._out_of_time:
                break

    def _end_epoch(self) -> None:
        current = self._progress
        epoch = self._evaluate(current.epoch_nats / current.epoch_tokens)
        current.history.append(epoch)
        current.epoch, current.batch, current.epoch_nats, current.epoch_tokens = current.epoch + 1, 0, 0.0, 0
        if current.best is epoch:
            self._best.save(self._optimizer.weights)
        self._sync_stop_flags()
        self._save_if_due()

    def _should_stop(self) -> bool:
        """Whether training ends before the recipe's last epoch."""
        return self._out_of_time or self._patience_exhausted()

    def _patience_exhausted(self) -> bool:
        return bool(self.recipe.patience) and self._progress.epoch - 1 - self._progress.best.epoch >= self.recipe.patience

    def _sync_stop_flags(self) -> None:
        """Share two flags among all processes, so that all stop at the same step: the deadline, by the first one's clock, and interruption."""
        out_of_time = self._group.is_first and self._progress.step > 0 and time.monotonic() >= self._deadline
        flags = torch.tensor(
            [out_of_time, self._signal_guard.interrupted], dtype=torch.float32, device=self._checkpoint.model.device
        )
        self._out_of_time, self._interrupted = (flag > 0 for flag in self._group.sum(flags).tolist())

    def _evaluate(self, train_loss: float | None) -> EpochLosses:
        """Compute and record the held-out loss, overall and per author."""
        nats = {
            author: total_nats(self._checkpoint, self._group.share(author_texts))
            for author, author_texts in self._held_out.items()
        }
        summed = self._group.sum(
            torch.tensor(list(nats.values()), dtype=torch.float32, device=self._checkpoint.model.device)
        ).tolist()
        tokens = [sum(len(row) - 1 for row in author_texts) for author_texts in self._held_out.values()]
        by_author = (
            {author: total / count for author, total, count in zip(nats, summed, tokens, strict=True)} if len(nats) > 1 else {}
        )
        epoch = EpochLosses(len(self._progress.history), train_loss, sum(summed) / sum(tokens), by_author)
        self._check_held_out(epoch.held_out_loss)
        losses = {f"held_out_loss/{NOT_IN_A_METRIC.sub('-', author)}": loss for author, loss in by_author.items()}
        self._record_metrics(self._progress.step, {"held_out_loss": epoch.held_out_loss, **losses})
        return epoch

    def _record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._group.is_first:
            self.log.append({"step": step, **metrics})
            self._on_step(step, dict(metrics))

    def _check_held_out(self, loss: float) -> None:
        """Check the held-out loss, which shows the effect of the last update first, and before any step a broken base model."""
        if self._progress.history:
            last_factor = learning_rate_factor(self.recipe, self._progress.step - 1, self._steps)
            self._require_sane_loss(loss, self._progress.step, self.recipe.learning_rate * last_factor)
        elif not math.isfinite(loss):
            raise InputError(f"the base model's loss is {loss} before any training: its weights are broken", "Use another.")

    def _require_sane_loss(self, loss: float, step: int, learning_rate: float) -> float:
        lower = "Lower it, for example with --set learning_rate=1e-4."
        if not math.isfinite(loss):
            raise MynahError(f"the loss is no longer a number at step {step} (learning rate {learning_rate:.3g})", lower)
        baseline = max(self._progress.history[0].held_out_loss, math.log(self._checkpoint.architecture.vocabulary))
        if loss > DIVERGED * baseline:
            raise MynahError(f"the loss diverges: {loss:,.1f} at step {step} (learning rate {learning_rate:.3g})", lower)
        return loss

    def _report_step(self, loss: float, learning_rate: float, norm: float, speed: float) -> None:
        metrics = {"train_loss": loss, "learning_rate": learning_rate, "grad_norm": norm, "tokens_per_second": speed}
        share = self._utilisation.share(speed)
        metrics |= {"flops_utilisation": share} if share is not None else {}
        metrics |= {"memory_gb": memory_gb(self._checkpoint.model.device)}
        self._record_metrics(self._progress.step, metrics)
        self._advance(1, f"epoch {self._progress.epoch}/{self.recipe.epochs}, loss {loss:.3f}, {speed:,.0f} tokens/s")

    def _resume(self, state: "State | None") -> None:
        if not state:
            return
        self._progress = Progress.from_record(state.values["progress"])
        self._progress.resumed_at.append(self._progress.step)
        if best := self._optimizer.restore(state.tensors):
            self._best.save(best)
        for line in state.values["log"]:  # a new MLflow run has the whole curve too
            self._record_metrics(int(line["step"]), {key: value for key, value in line.items() if key != "step"})
        if self._group.is_first:
            notify(
                f"resuming at step {self._progress.step} of {self._steps}, where an earlier run of the same inputs was interrupted"
            )

    def _save_if_due(self) -> None:
        """Save the state when it is due or the process was interrupted; raise KeyboardInterrupt in the latter case."""
        if (
            self._states
            and self._group.is_first
            and (self._interrupted or time.monotonic() - self._last_save >= self._save_seconds)
        ):
            # The base model's weights need no copy.
            best = self._best.tensors(self._optimizer.weights) if self._progress.best.epoch else None
            values = {"progress": self._progress.to_record(), "authors": self._authors, "log": self.log}
            try:
                self._states.save(State(self._progress.step, self._optimizer.state(best), values))
            except PlatformError as error:  # an unreachable store costs the state, not the training run
                if self._interrupted:
                    raise
                notify(f"the training state of step {self._progress.step} could not be saved: {error.problem}", "warning")
            else:
                at = f"step {self._progress.step} of {self._steps}"
                notify(f"saved at {at}: the same command resumes there" if self._interrupted else f"the state of {at} is saved")
            self._last_save = time.monotonic()
        if self._interrupted:
            raise KeyboardInterrupt

    def _result(self, model: Any) -> TrainingResult:  # noqa: ANN401
        current, device = self._progress, model.device
        memory = memory_gb(device)
        model.to("cpu").eval()
        return TrainingResult(
            recipe=replace(self.recipe, micro_batch_tokens=self._optimizer.micro_batch_tokens),
            history=current.history,
            best_epoch=current.best.epoch,
            steps=current.step,
            tokens=current.tokens,
            seconds=current.seconds,
            device=device.type,
            device_name=device_name(device),
            kernels=kernels(device),
            precision=self._precision,
            flops_utilisation=round(self._utilisation.share(current.tokens / current.seconds) or 0.0, 4),
            memory_gb=round(memory, 3),
            processes=self._group.size,
            out_of_time=self._out_of_time and current.step < self._steps,
            stopped_early=self._patience_exhausted() and current.step < self._steps,
            resumed_at=current.resumed_at,
        )
