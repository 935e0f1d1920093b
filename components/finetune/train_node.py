"""One node of a TrainJob: `python -m components.finetune.train_node JOB`, with what torchrun needs in PET_* (components/finetune/train_job.py).

It fetches what is trained, starts torchrun, which joins the other nodes, and sends what the first process reports and writes to the bucket.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from components.finetune.node_exchange import Channel, NodeJob
from components.finetune.torchrun_launch import run_torchrun
from components.handover import Handover
from components.step_log import step_log
from mynah.core.errors import MynahError, PlatformError, interrupt_on_sigterm
from mynah.core.progress import notify
from mynah.core.settings import PET_NODE_RANK, PET_NPROC_PER_NODE
from mynah.storage.run_files import parse

SECONDS_BETWEEN_EVENTS = 5.0
SECONDS_WITHOUT_SIGN = 90.0  # of life of the step, after which nobody waits for the model
SECONDS_AFTER_THE_FIRST = (
    10.0  # Kubernetes ends all nodes with the first that fails, and the first node's report must be out then
)
LOST = "Another node may have been lost (mynah logs RUN finetune shows each node's log); the next attempt resumes from the last training state."


def main() -> None:
    """Train, and report how it ended; the exit code tells Kubernetes."""
    interrupt_on_sigterm()
    reference = sys.argv[1]
    address = parse(reference)
    kfp_run = reference.removeprefix(f"{address.uri}/").partition("/")[0] if address else ""
    with step_log(reference, kfp_run, f"finetune-node-{PET_NODE_RANK.get()}"):
        try:
            train(NodeJob.read(reference))
        except MynahError as error:
            raise SystemExit(error.exit_code) from error
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def train(job: NodeJob) -> None:
    """Train a job's model together with the other nodes, and hand it on from the first.

    Raises:
        MynahError: as `finetune`; the step is told by the first node.
        KeyboardInterrupt: SIGTERM, or the step is gone; a training state is saved where the settings keep them.
    """
    is_first = PET_NODE_RANK.get() == 0
    with (
        tempfile.TemporaryDirectory(prefix="mynah-node-", ignore_cleanup_errors=True) as folder,
        _Reporter(Channel(job.home), Path(folder, "events.jsonl"), is_first) as reporter,
    ):
        scratch = Path(folder)
        files = Handover(job.home, scratch)
        try:
            data, settings = job.open(files, scratch)
            out, processes = files.new("model"), PET_NPROC_PER_NODE.get()
            outcome, code = run_torchrun([], processes, data, out, settings, reporter.add)
            if "error" in outcome:
                raise SystemExit(code)
            if code and not is_first:
                time.sleep(SECONDS_AFTER_THE_FIRST)
            if code or (is_first and "record" not in outcome):
                raise MynahError(f"the training processes of node {PET_NODE_RANK.get()} ended with code {code}", LOST)
            if is_first:
                reporter.add({"model": files.hand_on("model")})
        except MynahError as error:
            reporter.add({"error": {"kind": type(error).__name__, "problem": error.problem, "fix": error.fix}})
            raise


class _Reporter:
    """The events of this node, which a thread of the first node sends; on every node it ends the process when the step is gone.

    Args:
        channel: The bucket's folder of the TrainJob.
        path: A file for the events.
        is_first: Whether this node reports.
    """

    def __init__(self, channel: Channel, path: Path, is_first: bool) -> None:
        self._channel, self._path, self._is_first = channel, path, is_first
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def __enter__(self) -> "_Reporter":
        self._path.touch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.add({"ended": True})
        self._send()

    def add(self, event: dict[str, Any]) -> None:
        """Keep an event until it is sent."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def _run(self) -> None:
        sign, seen = "", time.monotonic()
        while not self._ended.wait(SECONDS_BETWEEN_EVENTS):
            try:
                newest = self._channel.sign()
            except PlatformError:  # a bucket that refuses says nothing about the step
                seen = time.monotonic()
                continue
            if sign and not newest:
                self._end_at_once()
            if newest != sign:
                sign, seen = newest, time.monotonic()
            if time.monotonic() - seen > SECONDS_WITHOUT_SIGN:
                notify("the step that waits for this training run is gone: it ends, and a later attempt resumes it", "warning")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._send()

    def _end_at_once(self) -> None:
        """End without a training state or a log: the run's files were erased, by `mynah forget` for one, and none may come back."""
        import psutil  # optional: of the extra `tracking`, which the image of the steps has

        for process in psutil.Process().children(recursive=True):  # torchrun's own processes are in sessions of their own
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(1)

    def _send(self) -> None:
        """Send all events from the first node. A bucket that refuses costs the step its view, not the training run."""
        if not self._is_first:
            return
        try:
            self._channel.send_events(self._path)
        except PlatformError as error:
            notify(f"the progress could not be sent: {error.problem}", "warning")


if __name__ == "__main__":
    main()
