"""How fast fine-tuning is, and how soon a bot is as good: `python -m tests.benchmarks.finetune [speed] [loss] [smollm2] [adapters] [gpu]`.

Without a name: speed and loss.

Real posts (julia.csv) and GPT-2's tokenizer; GPT-2 124M has random weights, on which speed does not depend. The peer is the original's
recipe by transformers' `Trainer`: blocks of 1,024 tokens, one a step, fp32, GPT-2's dropout of 0.1. Each side is a process of its own,
in turn, and the bound is measured in the same turns: the step's matrix products and nothing else, in the same precision.
Machines differ and wander: quote the ratios. `gpu` is for a machine with one: see docs/benchmarks.md.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.gpt2 import make_gpt2

TWEETS = Path(__file__).parents[2].parent / "shared" / "data" / "tweets" / "julia.csv"
ROUNDS, STEPS = 3, 5  # of each side, and steps a round, of which the first does not count
POSTS = 2400
ADAPTER_POSTS = 280  # of which nine in ten are trained on


# The sides: each runs as a process of its own, `python -m tests.benchmarks.finetune --side NAME DATA BASE …`, and prints JSON


def original(data: str, base: str, steps: str = "0") -> dict[str, Any]:
    """huggingtweets-train.py: `steps` of it, or all (0), with the held-out loss at the end."""
    return _trainer(data, base, int(steps), {"learning_rate": 1.372e-4, "lr_scheduler_type": "cosine"})


def tuned(data: str, base: str, steps: str, rows: str = "16", precision: str = "bf16") -> dict[str, Any]:
    """transformers' Trainer with what an option can change: `rows` blocks of 128, bf16 where the processor has it, no dropout, fused AdamW."""
    more = {"per_device_train_batch_size": int(rows), "bf16": precision == "bf16", "optim": "adamw_torch_fused"}
    return _trainer(data, base, int(steps), more, block=128, dropout=0.0)


def _trainer(data: str, base: str, steps: int, more: dict[str, Any], block: int = 1024, dropout: float = 0.1) -> dict[str, Any]:
    import random

    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from components.finetune.data_packing import stream
    from components.finetune.throughput import memory_gb
    from mynah.data.datasets import read_texts
    from mynah.models import checkpoint
    from mynah.models.sampling import encode
    from mynah.models.scoring import score

    torch.manual_seed(42)
    loaded, rng = checkpoint.load(Path(base)), random.Random(42)
    block = min(block, loaded.context)
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    texts = [encode(loaded, text) for text in read_texts(Path(data), "train")]
    shuffled = [ids for _ in range(4) for ids in rng.sample(texts, len(texts))]  # the original's four epochs, as one
    blocks = [{"input_ids": row[0], "labels": row[0]} for row in stream(shuffled, loaded.end, block)]
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(**{
            "output_dir": out, "per_device_train_batch_size": 1, "num_train_epochs": 1, "max_steps": steps or -1, "report_to": [],
            "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "use_cpu": not torch.cuda.is_available(), **more,
        })  # fmt: skip
        began = time.perf_counter()
        Trainer(loaded.model, arguments, train_dataset=blocks, callbacks=[Clock()]).train()
    tokens = block * arguments.per_device_train_batch_size
    found = {"speed": tokens * (len(times) - 1) / (times[-1] - times[0]), "memory": memory_gb(loaded.model.device)}
    if not steps:
        found |= {"seconds": times[-1] - began, "loss": score(loaded, read_texts(Path(data), "held_out")).loss}
    return found


def ours(data: str, base: str, steps: str = "0", goal: str = "0", *sets: str) -> dict[str, Any]:
    """Mynah's default: `steps` of it, or all (0), with when its held-out loss was at `goal` first."""
    from components.finetune.settings import FinetuneSettings
    from components.finetune.step import finetune
    from mynah.training.recipe import read

    class Enough(Exception):  # noqa: N818
        pass

    times, losses, last = [], [], {}
    began = time.perf_counter()

    def on_step(step: int, metrics: dict[str, float]) -> None:
        nonlocal last
        if "train_loss" in metrics:
            times.append((time.perf_counter(), metrics["tokens_per_second"]))
            last = metrics
        else:
            losses.append((time.perf_counter() - began, step, metrics["held_out_loss"]))
        if (int(steps) and step >= int(steps)) or (float(goal) and losses[-1][2] <= float(goal)):
            raise Enough

    try:
        with tempfile.TemporaryDirectory() as out:
            finetune(Path(data), Path(out) / "model", FinetuneSettings(base, read(None, sets)), on_step)
    except Enough:
        pass
    found = {
        "speed": statistics.median(speed for _, speed in times[1:]),
        "memory": last["memory_gb"],
        "mfu": last["flops_utilisation"],
    }
    return found | {"seconds": losses[-1][0] - losses[0][0], "loss": losses[-1][2], "steps": losses[-1][1]}


def _products(base: str) -> list[tuple[int, int, int]]:
    """Inputs, outputs and number of the matrices of `base`, or of GPT-2 124M."""
    if not base:
        return [(768, 2304, 12), (768, 768, 12), (768, 3072, 12), (3072, 768, 12), (768, 50257, 1)]
    from collections import Counter

    from mynah.models.base_models import resolve
    from mynah.models.checkpoint import load

    loaded = load(resolve(base).folder)
    shapes = Counter(tuple(w.shape) for name, w in loaded.model.named_parameters() if w.dim() == 2 and "embed" not in name)
    head = loaded.model.get_output_embeddings().weight.shape
    return [(columns, rows, times) for (rows, columns), times in shapes.items() if (rows, columns) != tuple(head)] + [
        (head[1], head[0], 1)
    ]


def bound(tokens: str, precision: str, base: str = "") -> dict[str, Any]:
    """Tokens a second of the bare matrix products of a step of `base` (GPT-2 124M): forward, and the two backward."""
    import torch

    count, dtype = int(tokens), torch.bfloat16 if precision == "bf16" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seconds = 0.0
    for rows, columns, times in _products(base):
        x, w, g = (torch.randn(shape, dtype=dtype, device=device) for shape in ((count, rows), (columns, rows), (count, columns)))
        x @ w.T, g @ w, g.T @ x  # the first does not count
        torch.zeros(1, device=device).item()  # a GPU is done
        began = time.perf_counter()
        for _ in range(times):
            x @ w.T, g @ w, g.T @ x
        torch.zeros(1, device=device).item()
        seconds += time.perf_counter() - began
    return {"speed": count / seconds}


# The tables


def side(name: str, *words: Any) -> dict[str, Any]:
    """What a side printed last."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.finetune", "--side", name, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def posts(folder: Path, limit: int) -> Path:
    """Filtered posts of julia.csv."""
    from components.fetch.step import fetch
    from components.filter.step import FilterSettings, filter_posts

    fetch([str(TWEETS)], folder / "raw", 0, basis="public-figure-research")
    filter_posts(folder / "raw", folder / "all", FilterSettings())
    data = folder / f"data-{limit}"
    data.mkdir()
    for part, share in (("train", 0.9), ("held_out", 0.1)):
        lines = (folder / "all" / f"{part}.jsonl").read_text().splitlines(keepends=True)
        (data / f"{part}.jsonl").write_text("".join(lines[: round(limit * share)]))
    return data


def middle(rounds: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(each[key] for each in rounds)


def speed(folder: Path) -> None:
    """Tokens a second, memory, and how near to the bound: in the precision that this machine trains in, and in fp32."""
    from components.finetune.device import computes_in_bf16

    data, base = posts(folder, POSTS), make_gpt2(folder / "gpt2")
    sides: dict[str, tuple[Any, ...]] = {
        "original": ("original", data, base, STEPS),
        "ours-fp32": ("ours", data, base, STEPS, 0, "bf16=false"),
        "bound-fp32": ("bound", 2048, "fp32"),
    }
    if computes_in_bf16("cpu"):
        sides |= {
            "ours": ("ours", data, base, STEPS),
            "bound": ("bound", 2048, "bf16"),
            "tuned": ("tuned", data, base, STEPS),
            "ours-1024": ("ours", data, base, STEPS, 0, "batch_tokens=1024"),
            "bound-1024": ("bound", 1024, "bf16"),
        }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, words in sides.items():
            found[name].append(side(*words))
    peer = middle(found["original"], "speed")
    print("\n| loop | tokens/s | of the original's | of the bound | peak memory, GB |\n|---|---|---|---|---|")
    rows = (
        ("original", "the original: `Trainer`, 1 x 1,024, fp32, dropout 0.1", ""),
        ("tuned", "`Trainer`, 16 x 128, bf16, no dropout", "bound"),
        ("ours", "Mynah's default", "bound"),
        ("ours-1024", "the same, 1,024 tokens a step", "bound-1024"),
        ("bound", "bare matrix products, bf16", ""),
        ("ours-fp32", "Mynah's default in fp32", "bound-fp32"),
        ("bound-fp32", "bare matrix products, fp32", ""),
    )
    for name, told, limit in rows:
        if name not in found:
            continue
        mine = middle(found[name], "speed")
        share = f"{mine / middle(found[limit], 'speed'):.0%}" if limit else ""
        memory = f"{max(each['memory'] for each in found[name]):.2f}" if "memory" in found[name][0] else ""
        print(f"| {told} | {mine:,.0f} | {mine / peer:.1f} | {share} | {memory} |")


def smollm2(folder: Path) -> None:
    """SmolLM2-135M beside Trainer as its options allow, in the precision that this machine trains in, and the share of the bound."""
    from components.finetune.device import computes_in_bf16
    from mynah.models.base_models import resolve

    data, base = posts(folder, POSTS), resolve("smollm2").folder
    precision = "bf16" if computes_in_bf16("cpu") else "fp32"
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(ROUNDS):
        for rows in (8, 16):
            for name, words in (
                ("Trainer", ("tuned", data, base, STEPS, rows, precision)),
                ("Mynah", ("ours", data, base, STEPS, 0, f"batch_tokens={rows * 128}")),
                ("bound", ("bound", rows * 128, precision, base)),
            ):
                found.setdefault(f"{name} {rows}", []).append(side(*words))
    print(
        f"\n{precision}\n\n| rows of 128 | Trainer, tokens/s | GB | Mynah, tokens/s | GB | ratio | of the bound |\n|---|---|---|---|---|---|---|"
    )
    for rows in (8, 16):
        peer, mine, limit = (middle(found[f"{name} {rows}"], "speed") for name in ("Trainer", "Mynah", "bound"))
        theirs, gigabytes = (max(each["memory"] for each in found[f"{name} {rows}"]) for name in ("Trainer", "Mynah"))
        print(f"| {rows} | {peer:,.0f} | {theirs:.2f} | {mine:,.0f} | {gigabytes:.2f} | {mine / peer:.2f} | {mine / limit:.0%} |")


def adapters(folder: Path) -> None:
    """SmolLM2-135M, one epoch: an adapter of rank 16 beside all weights: peak memory, and seconds until the held-out loss is theirs."""
    from mynah.models.base_models import resolve

    data, base = posts(folder, ADAPTER_POSTS), resolve("smollm2").folder
    found: dict[str, list[dict[str, Any]]] = {"all weights": [], "adapter": []}
    for _ in range(ROUNDS):
        full = side("ours", data, base, 0, 0, "epochs=1")
        found["all weights"].append(full)
        found["adapter"].append(side("ours", data, base, 0, full["loss"], "epochs=1", "lora_rank=16"))
    print("\n| what is trained | tokens/s | seconds | held-out loss | peak memory, GB |\n|---|---|---|---|---|")
    for name, rounds in found.items():
        speed_, seconds, nats = (middle(rounds, key) for key in ("speed", "seconds", "loss"))
        print(f"| {name} | {speed_:,.0f} | {seconds:,.1f} | {nats:.3f} | {max(each['memory'] for each in rounds):.2f} |")
    seconds, memory = (middle(found["adapter"], key) / middle(found["all weights"], key) for key in ("seconds", "memory"))
    reached = all(mine["loss"] <= full["loss"] for mine, full in zip(found["adapter"], found["all weights"], strict=True))
    print(
        f"\nof all weights: {seconds:.2f} x the seconds{'' if reached else ' (their loss was not reached)'}, {memory:.2f} x the memory"
    )


def loss(folder: Path) -> None:
    """Seconds until the held-out loss is the original's at its end."""
    from mynah.models.base_models import FLEDGLING_FOLDER

    print(
        "\n| base model | posts | the original: held-out loss, s | Mynah's default: held-out loss, s | ratio |\n|---|---|---|---|---|"
    )
    for name, base, count in (
        ("fledgling", FLEDGLING_FOLDER, 2400),
        ("GPT-2 124M, random weights", make_gpt2(folder / "gpt2"), 600),
    ):
        data = posts(folder / name.split()[0], count)
        peer = side("original", data, base)
        mine = side("ours", data, base, 0, peer["loss"])
        told = f"{mine['loss']:.3f}, {mine['seconds']:,.1f} (step {mine['steps']})"
        print(
            f"| {name} | {count:,} | {peer['loss']:.3f}, {peer['seconds']:,.1f} | {told} | {peer['seconds'] / mine['seconds']:.1f} |",
            flush=True,
        )


def gpu(folder: Path) -> None:
    """On a GPU: its share of the bf16 peak at a batch that fills it, and the seconds of 2,400 posts x 4 epochs."""
    data, base = posts(folder, POSTS), make_gpt2(folder / "gpt2")
    print("\n| what | tokens/s | of the bf16 peak | memory, GB | seconds |\n|---|---|---|---|---|")
    many = ("epochs=40", "patience=0", "batch_tokens=65536")
    for told, sets in (("default", ()), ("65,536 tokens a step", many), ("the same, compiled", (*many, "compile=true"))):
        found = side("ours", data, base, 0, 0, *sets)
        print(
            f"| {told} | {found['speed']:,.0f} | {found['mfu']:.0%} | {found['memory']:.1f} | {found['seconds']:.1f} |",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(globals()[sys.argv[2]](*sys.argv[3:])))
        return
    wanted = sys.argv[1:] or ["speed", "loss"]
    for each in (speed, loss, smollm2, adapters, gpu):
        if each.__name__ in wanted:
            with tempfile.TemporaryDirectory() as folder:
                print(f"\n{each.__doc__}")
                each(Path(folder))


if __name__ == "__main__":
    main()
