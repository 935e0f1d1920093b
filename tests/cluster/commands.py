"""kubectl, mynah and HTTP as the suite uses them: each call is printed, its outcome kept, and in a dry run nothing is called at all.

Every call names an example of a good answer. A dry run goes on with the examples, so that the suite's own logic runs too.
"""

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.asked import ROOT

Found = TypeVar("Found")
OTHERS = ("MLFLOW_", "AWS_", "KF_PIPELINES_", "MYNAH_")  # what a person's shell says of another store or cluster


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a server: HTTP status, JSON or text, and X-Mynah-Version ("" for none)."""

    status: int
    body: Any = None
    version: str = ""


class Commands:
    """Calls with one context and one environment. A call that fails is an AssertionError with its last words."""

    def __init__(self, context: str, folder: Path, *, dry_run: bool = False) -> None:
        self.context = context
        self.folder = folder  # commands.log, and what is dumped when a step fails
        self.dry_run = dry_run
        self.said = ""  # on stderr, by the last call
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}

    def run(self, *words: str, example: str = "", codes: Sequence[int] = (0,), seconds: float = 300, secret: bool = False) -> str:
        """Run a program and return what it wrote on stdout. `secret`: keep that out of the log."""
        told = shlex.join(words)
        print(f"$ {told}", flush=True)
        if self.dry_run:
            return example
        argv = [sys.executable, "-m", "pipelines", *words[1:]] if words[0] == "mynah" else words
        began = time.monotonic()
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, env=self.environment, cwd=ROOT)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"`{told}` did not end within {seconds:.0f} s") from late
        said = "(secret)\n" if secret else done.stdout
        self._log(f"$ {told}\n{said}{done.stderr}-> {done.returncode} after {time.monotonic() - began:.1f} s\n\n")
        self.said = done.stderr.strip()[-1500:]
        assert done.returncode in codes, f"`{told}` ended with {done.returncode}: {self.said or said.strip()[-1500:]}"
        return done.stdout

    def json(self, *words: str, example: Any, **options: Any) -> Any:
        """The same for what writes JSON."""
        return json.loads(self.run(*words, example=json.dumps(example), **options) or "null")

    def kubectl_words(self, *words: str) -> tuple[str, ...]:
        """A command of kubectl, for the named context whatever the current one is."""
        return ("kubectl", "--context", self.context, *words)

    def kubectl(self, *words: str, **options: Any) -> str:
        """Run kubectl."""
        return self.run(*self.kubectl_words(*words), **options)

    def ask(
        self, url: str, body: object = None, *, method: str = "", key: bool = False, example: Answer = Answer(200)
    ) -> Answer:  # fmt: skip
        """One request; every status is an answer. `key`: with the servers' API key. A server that is away has status 0."""
        method = method or ("GET" if body is None else "POST")
        if self.dry_run:
            with_key = ['-H "X-API-Key: $MYNAH_API_KEY"'] * key
            data = [f"-d {shlex.quote(json.dumps(body))}"] * (body is not None)
            print("$", " ".join(["curl -sS -X", method, url, *with_key, *data]), flush=True)
            return example
        headers = {"Content-Type": "application/json"} | ({"X-API-Key": self.environment["MYNAH_API_KEY"]} if key else {})
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return _answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as refused:
            with refused:
                return _answer(refused.code, refused.read(), refused.headers)
        except OSError as error:  # URLError is one too
            return Answer(0, str(error))

    def until(self, what: str, look: Callable[[], Found], seconds: float = 120, pause: float = 1.0) -> Found:
        """Look again and again until what `look` finds is true, and return it. In a dry run the example must be so at once."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert not self.dry_run and time.monotonic() < deadline, f"{what}: not so after {seconds:.0f} s, but {found!r}"
            time.sleep(pause)
        return found

    def _log(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "commands.log").open("a", encoding="utf-8") as log:
            log.write(text)


def _answer(status: int, data: bytes, headers: Any) -> Answer:
    try:
        body = json.loads(data)
    except ValueError:
        body = data.decode("utf-8", "replace")
    return Answer(status, body, headers.get("X-Mynah-Version", ""))
