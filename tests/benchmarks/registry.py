"""How fast a model is registered to S3, and promoted: `make bench`, or `python -m tests.benchmarks.registry`.

Real servers on loopback (PostgreSQL, MLflow, Ceph's S3 in memory). Each figure stands beside its peer's of the same run, taken in
turn; quote the ratios of the medians, for machines differ and wander. Nothing here asserts a time.

    adapter    `register` of an adapter of rank 16 of SmolLM2-135M whose base model the store has, with all imports done
    register   the whole of `components.register.step.register` for 500 MB of weights (hashes, MLflow's description, upload, verification,
               rows), against boto3's bare multipart upload of the same files
    promote    the whole process `mynah promote` in a bot of 2,000 versions, against a process that only moves an alias by MLflow's client
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from mynah.models.base_models import FLEDGLING_FOLDER
from scripts.services import start_mlflow, start_postgres, start_s3

MEGABYTES, VERSIONS, ROUNDS = 500, 2_000, 5
RANK, PICTURE = 16, 250_000  # of the adapter; bytes of its card's picture
MOVE = (
    "import sys\nfrom mlflow import MlflowClient\n"
    "MlflowClient(sys.argv[1], sys.argv[1]).set_registered_model_alias('wren', 'champion', sys.argv[2])"
)


def make_outputs(folder: Path) -> Path:
    """The folders of a bot whose checkpoint has 500 MB of random weights."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "services"))
    from registry_inputs import make_outputs as make

    checkpoint = folder / "checkpoint"
    shutil.copytree(FLEDGLING_FOLDER, checkpoint)
    with (checkpoint / "model.safetensors").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1_000_000))
    return make(folder / "outputs", checkpoint)


def in_turn(first: Callable[[int], None], second: Callable[[int], None], rounds: int = ROUNDS) -> tuple[list[float], list[float]]:
    """Seconds of both, one after the other, `rounds` times after one round that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-1, rounds):
        for place, call in enumerate((first, second)):
            began = time.perf_counter()
            call(turn)
            if turn >= 0:
                times[place].append(time.perf_counter() - began)
    return times


def row(what: str, ours: list[float], peer: list[float], bar: str) -> None:
    """A line of the table: medians, their ratio, and the spread."""
    one, other = statistics.median(ours), statistics.median(peer)
    spread = f"{min(ours):.2f} to {max(ours):.2f}, peer {min(peer):.2f} to {max(peer):.2f}"
    print(f"{what:<44} {one:7.2f} s {other:7.2f} s {one / other:6.2f}  {bar:<22} {spread}", flush=True)


def bench_register(outputs: Path, s3: object, store: object) -> None:
    """Our `register` against a bare upload, both with all imports done."""
    from components.register.step import register
    from mynah.storage import base
    from mynah.tracking.runs import start_parent

    with closing(s3.client()) as client:  # type: ignore[attr-defined]
        files = [path for path in (outputs / "model").iterdir() if path.is_file()]

        def ours(turn: int) -> None:
            base._cached_digest.cache_clear()  # as in a process that has just begun
            run = start_parent(store, f"register {turn}", {})  # type: ignore[arg-type]
            register("wren", outputs / "model", outputs / "report", outputs / "card", store, run)  # type: ignore[arg-type]

        def bare(turn: int) -> None:
            for path in files:
                client.upload_file(str(path), "bench", f"bare/{turn}/{path.name}")

        row("register 500 MB to S3 / bare boto3 upload", *in_turn(ours, bare), "at most 1.5")


def make_adapter_outputs(folder: Path) -> Path:
    """The folders of a bot whose model is an adapter of rank 16, in bf16, of the base model `smollm2`, with a card's pictures."""
    import torch
    from registry_inputs import make_outputs as make
    from safetensors.torch import save_file

    from mynah.models.adapter import PREFIX, WEIGHTS_FILE, block_prefix, matrix_sizes, write_base
    from mynah.models.architecture import read_architecture
    from mynah.models.base_model_record import BaseModelRecord
    from mynah.models.base_models import resolve
    from mynah.models.checkpoint_files import check_full

    base = resolve("smollm2")
    of = read_architecture(check_full(base.folder), base.folder)
    outputs = make(folder / "adapter", FLEDGLING_FOLDER)
    model = outputs / "model"
    training = json.loads((model / "training.json").read_text())
    shutil.rmtree(model)
    model.mkdir()
    record = BaseModelRecord(base.name, base.weights_digest, base.revision, base.license, of.family)
    write_base(model, record)
    (model / "training.json").write_text(json.dumps(training | {"base_model": record.to_record()}))
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "task_type": "CAUSAL_LM", "bias": "none"}
    config |= {"target_modules": [name.split(".")[-1] for name in matrix_sizes(of)], "base_model_name_or_path": str(base.folder)}
    (model / "adapter_config.json").write_text(json.dumps(config))
    tensors = {}
    for number in range(of.layers):
        for name, (rows, columns) in matrix_sizes(of).items():
            where = f"{block_prefix(of)}{number}.{name}.lora_"
            tensors[f"{where}A.weight"] = torch.randn(RANK, columns).bfloat16()
            tensors[f"{where}B.weight"] = torch.randn(rows, RANK).bfloat16()
    save_file(tensors, model / WEIGHTS_FILE, {"format": "pt"})
    (outputs / "card" / "predictions.png").write_bytes(os.urandom(PICTURE))
    assert block_prefix(of).startswith(PREFIX)
    return outputs


def bench_adapter(outputs: Path, s3: object, store: object) -> None:
    """Register an adapter again and again, against the bare upload of its files; and what a version takes."""
    from components.register.step import register
    from mynah.registry.registry import Registry
    from mynah.storage import base
    from mynah.tracking.runs import start_parent

    with closing(s3.client()) as client:  # type: ignore[attr-defined]
        files = [path for path in (outputs / "model").iterdir() if path.is_file()]

        def ours(turn: int) -> None:
            base._cached_digest.cache_clear()  # as in a process that has just begun
            run = start_parent(store, f"adapter {turn}", {})  # type: ignore[arg-type]
            register("tit", outputs / "model", outputs / "report", outputs / "card", store, run)  # type: ignore[arg-type]

        def bare(turn: int) -> None:
            for path in files:
                client.upload_file(str(path), "bench", f"bare-adapter/{turn}/{path.name}")

        row(f"register an adapter of rank {RANK} to S3 / bare upload", *in_turn(ours, bare), "under 1.5 s")
        size = int(Registry(store).bot("tit").versions[0].tags["mynah.bytes"])  # type: ignore[arg-type]
        print(f"{'bytes of such a version, without its base model':<44} {size / 1e6:7.2f} MB {'':17} at most 12", flush=True)


def whole_register(outputs: Path, workdir: Path) -> None:
    """The command, with Python's start, every import, and its peak of memory."""
    folders = [str(outputs / name) for name in ("model", "data", "report", "card")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipelines", "register", "--name", "wren", *folders, "--workdir", str(workdir)]
    subprocess.run(command, check=True, capture_output=True)
    peak = max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, before)
    print(
        f"mynah register, the whole process: {time.perf_counter() - began:.1f} s, peak memory {peak / 1000:,.0f} MB", flush=True
    )


def bench_promote(store: object, workdir: Path, url: str) -> None:
    """`mynah promote` in a registry of 2,000 versions, as a person calls it."""
    from mynah.registry.registry import Registry

    api = Registry(store).client  # type: ignore[arg-type]
    first = api.get_model_version("wren", "1")
    there = len(Registry(store).bot("wren").versions)  # type: ignore[arg-type]
    files = api.get_model_version_download_uri("wren", "1")
    for _ in range(VERSIONS - there):
        api.create_model_version("wren", files, run_id=first.run_id, tags=first.tags)

    def promote(turn: int) -> None:
        command = ["promote", "wren", "--version", str(VERSIONS - turn - 2), "--workdir", str(workdir)]
        subprocess.run([sys.executable, "-m", "pipelines", *command], check=True, capture_output=True)

    def move(turn: int) -> None:
        subprocess.run([sys.executable, "-c", MOVE, url, str(VERSIONS - turn - 2)], check=True, capture_output=True)

    row(f"mynah promote of {VERSIONS:,} versions / one alias moved", *in_turn(promote, move), "under 2 s")


def main() -> None:
    """Start the servers, run everything, print the table."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        outputs = make_outputs(folder)
        with start_postgres(folder / "postgres") as postgres, start_s3(folder / "s3", memory=14 << 30) as s3:
            s3.create_bucket("bench")
            where = {"backend": postgres.url, "artifacts": "s3://bench/mlflow", "environment": s3.environment}
            with start_mlflow(folder / "mlflow", proxied=False, **where) as server:  # type: ignore[arg-type]
                os.environ |= {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_BACKEND_STORE_URI": postgres.url, **s3.environment}
                from mynah.tracking.open import open_store

                store = open_store(folder / "work")
                print(f"{json.dumps({'cores': os.cpu_count(), 'megabytes': MEGABYTES, 'rounds': ROUNDS})}")
                print(f"{'what / peer':<44} {'ours':>9} {'peer':>9} {'ratio':>6}  {'bar':<22} spread")
                bench_adapter(make_adapter_outputs(folder), s3, store)
                bench_register(outputs, s3, store)
                whole_register(outputs, folder / "work")
                bench_promote(store, folder / "work", server.url)


if __name__ == "__main__":
    main()
