"""`mynah demo`: the whole way on the bundled sample, as a person would go it, with real parts."""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import PlatformError
from components.events import visible, waiting
from pipelines.launch import Order, launch
from pipelines.show import console, mlflow_command, program, show_funnel

NAME = "wren"
PROMPT = "My dream is"


def demo(workdir: Path) -> None:
    """Run the pipeline on the sample, serve its champion, ask it over KServe's v2 protocol, and show all of it."""
    began = time.monotonic()
    outcome = launch(Order(NAME, ["sample"], workdir))
    with waiting(f"Serving {NAME} and asking it"), server(workdir) as address:
        answers = ask(address, NAME, PROMPT, 5)
    out = console()
    show_funnel(outcome.funnel)
    metrics = outcome.metrics
    out.print(
        f"\nHeld-out loss {metrics['base_held_out_loss']:.3f} → {metrics['held_out_loss']:.3f}; version {outcome.version}: {outcome.decision}"
    )
    out.print(f"\n{NAME} was asked to continue {PROMPT!r} five times (POST /v2/models/{NAME}/infer):")
    for answer in answers:
        out.print(f"  • {visible(answer)}", soft_wrap=True)
    mynah, where = program("mynah"), f"--workdir {shlex.quote(str(workdir))}"
    out.print(f"\nCard         {outcome.folder / 'card' / 'README.md'}", soft_wrap=True)
    out.print(f"Picture      {outcome.folder / 'card' / 'predictions.png'}", soft_wrap=True)
    out.print(f'Ask again    {mynah} generate {NAME} "{PROMPT}" -n 5 {where}', soft_wrap=True)
    out.print(f"Serve it     {mynah} serve {where}", soft_wrap=True)
    out.print(f"See the runs {mlflow_command(workdir)}", soft_wrap=True)
    out.print(f"\nDone in {time.monotonic() - began:.0f} s.")


@contextmanager
def server(workdir: Path) -> Iterator[str]:
    """`mynah serve` as a process of its own on a free port; yields its address once it answers."""
    command = [sys.executable, "-m", "pipelines", "serve", NAME, "--port", "0", "--workdir", str(workdir)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def ask(address: str, name: str, prompt: str, n: int) -> list[str]:
    """Ask a bot over KServe's v2 protocol; https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol"""
    import httpx

    body: dict[str, Any] = {
        "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [prompt]}],
        "parameters": {"n": n, "max_tokens": 60, "seed": 7},
    }
    answer = httpx.post(f"{address}/v2/models/{name}/infer", json=body, timeout=120)
    answer.raise_for_status()
    return list(answer.json()["outputs"][0]["data"])


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"http://[\w.:\[\]-]+", line):
            return found[0]
    raise PlatformError("the server ended before it answered", "".join(lines)[-500:] or "Run `mynah serve` to see why.")
