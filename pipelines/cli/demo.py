"""`mynah demo`: runs the pipeline on the bundled sample, serves the bot and queries it, as a user would."""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mynah.core.errors import PlatformError
from mynah.core.progress import strip_control_chars, waiting
from mynah.models.catalogue import FLEDGLING, default_base_model
from mynah.training.recipe import build
from pipelines.cli.render import console, mlflow_command, program, show_funnel
from pipelines.local.launcher import launch
from pipelines.run_spec import RunSpec

NAME = "wren"
PROMPT = "My dream is"
LARGE_POSTS = 600  # of the sample, for a large base model: an epoch of all of them takes two cores without AVX-512 four minutes


def demo(workdir: Path) -> None:
    """Run the pipeline on the sample, serve its champion, query it over KServe's v2 protocol, and print the results."""
    started = time.monotonic()
    is_large = default_base_model() != FLEDGLING
    spec = (
        RunSpec(NAME, ["sample"], limit=LARGE_POSTS, recipe=build("default", {"epochs": 1}))
        if is_large
        else RunSpec(NAME, ["sample"])
    )
    outcome = launch(spec, workdir)
    with waiting(f"Serving and querying {NAME}"), server(workdir) as address:
        answers = query(address, NAME, PROMPT, 5)
    out = console()
    show_funnel(outcome.funnel)
    metrics = outcome.metrics
    out.print(
        f"\nHeld-out loss {metrics['base_held_out_loss']:.3f} → {metrics['held_out_loss']:.3f}; version {outcome.version}: {outcome.decision}"
    )
    out.print(f"\n{NAME} was asked to continue {PROMPT!r} five times (POST /v2/models/{NAME}/infer):")
    for answer in answers:
        out.print(f"  • {strip_control_chars(answer)}", soft_wrap=True)
    mynah, where = program("mynah"), f"--workdir {shlex.quote(str(workdir))}"
    out.print(f"\nCard         {outcome.folder / 'card' / 'README.md'}", soft_wrap=True)
    out.print(f"Picture      {outcome.folder / 'card' / 'predictions.png'}", soft_wrap=True)
    out.print(f'Ask again    {mynah} generate {NAME} "{PROMPT}" -n 5 {where}', soft_wrap=True)
    out.print(f"Serve it     {mynah} serve {where}", soft_wrap=True)
    out.print(f"See the runs {mlflow_command(workdir)}", soft_wrap=True)
    out.print(f"\nDone in {time.monotonic() - started:.0f} s.")


@contextmanager
def server(workdir: Path) -> Iterator[str]:
    """Run `mynah serve` as a process on a free port. Yields its URL when it is ready."""
    command = [sys.executable, "-m", "pipelines", "serve", NAME, "--port", "0", "--workdir", str(workdir)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            yield _address(process)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def query(address: str, name: str, prompt: str, n: int) -> list[str]:
    """Query a bot over KServe's v2 protocol: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol.

    Args:
        address: the server's URL.
        name: the bot's name.
        prompt: the prompt to continue.
        n: the number of answers.

    Returns:
        The answers, each of which begins with the prompt.
    """
    import httpx

    body: dict[str, Any] = {
        "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [prompt]}],
        "parameters": {"n": n, "max_tokens": 60, "seed": 7},
    }
    response = httpx.post(f"{address}/v2/models/{name}/infer", json=body, timeout=120)
    response.raise_for_status()
    return list(response.json()["outputs"][0]["data"])


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if url := re.search(r"http://[\w.:\[\]-]+", line):
            return url[0]
    raise PlatformError("the server ended before it answered", "".join(lines)[-500:] or "Run `mynah serve` to see why.")
