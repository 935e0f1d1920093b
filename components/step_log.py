"""Keeps a step's log in Mynah's bucket: Kubeflow keeps what a pod prints in its own store, and a log names people and what they wrote.

While a step of a cluster works, its standard output and error are a file, which is uploaded every few seconds and at the end to
runs/ID/KFP_RUN_ID/logs/STEP-ATTEMPT.log. The pod itself prints which step began, where its log is, and how it ended.
"""

import contextlib
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from mynah.core.errors import MynahError
from mynah.storage.run_files import LOGS, RunFiles, parse
from mynah.storage.s3 import s3_client, s3_errors

SECONDS_BETWEEN_UPLOADS = 5.0
SHARE_OF_TIME = 10  # an upload that takes a second is followed by a pause of ten: each one sends the whole file
MAX_ATTEMPTS = 10_000
STANDARD_STREAMS = (1, 2)


@contextlib.contextmanager
def step_log(spec: str, kfp_run: str, step: str) -> Iterator[None]:
    """Keep what a block prints in the bucket, with the traceback of its error; do nothing for a run on this machine.

    A bucket that refuses does not fail the step. Its log is then lost: the pod must not print it.

    Args:
        spec: The reference of the run's specification.
        kfp_run: The id of the Kubeflow run.
        step: The step's name.
    """
    files = parse(spec)
    if not files:
        yield
        return
    step = step.replace("_", "-")
    with tempfile.TemporaryDirectory(prefix="mynah-log-", ignore_cleanup_errors=True) as folder:
        log = _Log(Path(folder) / "log", files, kfp_run, step)
        began, ended = time.monotonic(), "finished"
        with _Redirected(log.path) as pod:
            log.start(pod)
            try:
                yield
            except BaseException as error:
                traceback.print_exc()
                ended = f"ended with {type(error).__name__}"
                sys.excepthook = _print_frames_only
                raise
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                log.finish()
                pod.say(f"{step} of run {files.id} {ended} after {time.monotonic() - began:.0f} s")


class _Redirected:
    """Sends standard output and error, also of child processes, to a file while a block runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: dict[int, int] = {}

    def __enter__(self) -> "_Redirected":
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = {stream: os.dup(stream) for stream in STANDARD_STREAMS}
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in STANDARD_STREAMS:
            os.dup2(file, stream)
        os.close(file)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, saved in self._saved.items():
            os.dup2(saved, stream)
            os.close(saved)

    def say(self, line: str) -> None:
        """Print a line without names to the pod's own output."""
        with contextlib.suppress(OSError):
            os.write(self._saved[STANDARD_STREAMS[0]], f"{line}\n".encode())


class _Log:
    """A log file that is uploaded as a whole whenever it grew."""

    def __init__(self, path: Path, files: RunFiles, kfp_run: str, step: str) -> None:
        self.path = path
        self._bucket, self._id, self._step = files.bucket, files.id, step
        self._prefix = f"{files.prefix}/{kfp_run}/{LOGS}/{step}"
        self._key, self._sent, self._has_told = "", -1, False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="log")

    def start(self, pod: _Redirected) -> None:
        """Start the uploads."""
        self._pod = pod
        pod.say(f"{self._step} of run {self._id} began")
        self._thread.start()

    def finish(self) -> None:
        """Upload the rest."""
        self._stop.set()
        self._thread.join()  # S3's client has bounded waits
        self._upload()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            began = time.monotonic()
            self._upload()
            pause = max(SECONDS_BETWEEN_UPLOADS, SHARE_OF_TIME * (time.monotonic() - began))

    def _upload(self) -> None:
        try:
            size = self.path.stat().st_size
            if size == self._sent:
                return
            if not self._key:
                self._key = self._free_key()
                self._pod.say(f"its log: s3://{self._bucket}/{self._key}")
            with s3_errors("storing the step's log"):
                s3_client().put_object(Bucket=self._bucket, Key=self._key, Body=self.path.read_bytes())
            self._sent = size
        except (MynahError, OSError) as error:  # a later upload may succeed, and the step does not depend on it
            if not self._has_told:
                self._pod.say(
                    f"its log cannot be stored now ({type(error).__name__}), and is not printed here, because it holds names"
                )
            self._has_told = True

    def _free_key(self) -> str:
        """Return the key of the next attempt, claimed by an empty object: the trials of a search, and attempts, may start together."""
        from botocore.exceptions import ClientError

        with s3_errors("naming the step's log"):
            api = s3_client()
            pages = api.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self._prefix}-")
            taken = {item["Key"] for page in pages for item in page.get("Contents", [])}
            for number in range(1, MAX_ATTEMPTS):
                key = f"{self._prefix}-{number}.log"
                if key in taken:
                    continue
                try:
                    api.put_object(Bucket=self._bucket, Key=key, Body=b"", IfNoneMatch="*")
                except ClientError as error:
                    if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
                        continue
                    raise
                return key
        raise MynahError(f"{self._prefix} has {MAX_ATTEMPTS} logs")


def _print_frames_only(kind: type[BaseException], _: BaseException, frames: TracebackType | None) -> None:
    """Print where an error arose without its message, which may name people; the step's log has both."""
    traceback.print_tb(frames)
    print(kind.__name__, file=sys.stderr)
