"""What a step and the nodes that train for it pass each other through Mynah's bucket, below HOME/NAME/ of one TrainJob.

    data/ base/ adapter/  what they train on and from, which the step hands on
    job.json              the settings, with the references of these folders
    alive                 a sign of life of the step, every ten seconds: nodes whose step is gone end themselves
    events.jsonl          of the first node: metrics per optimizer step, then the record and the model's reference, or an error; and that it ended
    model/                the checkpoint

Kubernetes holds the reference of job.json alone. All of it goes with what the run's other steps handed on (components/handover.py).
"""

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components.finetune.settings import FinetuneSettings
from components.handover import Handover, publish_file, read_file
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import make_folder, storage_errors, write_json
from mynah.models.base_models import named_path, resolve
from mynah.storage.run_files import ALIVE
from mynah.storage.s3 import S3ArtifactStore
from mynah.training.recipe import Recipe

EVENTS, JOB = "events.jsonl", "job.json"
SECONDS_BETWEEN_SIGNS = 10.0


@dataclass(frozen=True, slots=True)
class NodeJob:
    """What nodes train: the content of job.json."""

    home: str  # the address of this TrainJob's files
    settings: FinetuneSettings  # base model and adapter are names, or references of folders
    data: str  # a reference
    base_name: str = ""  # the name of the base model's folder, where the settings have its reference

    @classmethod
    def read(cls, reference: str) -> "NodeJob":
        """Read a job. Raises PlatformError when it is missing or was changed, InputError when it is of another version."""
        record = json.loads(read_file(reference))
        try:
            settings = record.pop("settings")
            return cls(settings=FinetuneSettings(**{**settings, "recipe": Recipe(**settings["recipe"])}), **record)
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"the job {reference[:200]!r} is of another version ({error})", "Use one version of mynah for all images."
            ) from error

    def open(self, files: Handover, scratch: Path) -> tuple[Path, FinetuneSettings]:
        """Return the data's folder, and the settings with local folders; all are verified copies below `scratch`."""
        settings = self.settings
        if self.base_name:
            base = scratch / "base" / self.base_name
            make_folder(base.parent)
            files.open(settings.base_model).rename(base)
            settings = replace(settings, base_model=str(base))
        if settings.adapter:
            settings = replace(settings, adapter=str(files.open(settings.adapter)))
        return files.open(self.data), settings


def offer(home: str, data: Path, settings: FinetuneSettings, scratch: Path) -> str:
    """Hand on what nodes need, and return the reference of their job.

    Args:
        home: The address of the TrainJob's files.
        data: The folder of texts.
        settings: The settings of the training run.
        scratch: A folder for copies.

    Raises:
        PlatformError: S3 or the disk fails.
    """
    files, base_name = Handover(home, scratch), ""
    if named_path(settings.base_model):
        base = resolve(settings.base_model)  # a GGUF file is converted once, here
        base_name = base.name
        settings = replace(settings, base_model=_hand_on(files, "base", base.folder))
    if settings.adapter:
        settings = replace(settings, adapter=_hand_on(files, "adapter", Path(settings.adapter)))
    job = NodeJob(home, replace(settings, nodes=None, home=""), _hand_on(files, "data", data), base_name)
    write_json(scratch / JOB, asdict(job))
    return publish_file(f"{home}/{JOB}", scratch / JOB)


def _hand_on(files: Handover, name: str, folder: Path) -> str:
    copy = files.new(name)
    with storage_errors(copy):
        shutil.copytree(folder, copy)
    return files.hand_on(name)


class Channel:
    """The events and the signs of life of one TrainJob."""

    def __init__(self, home: str) -> None:
        bucket, _, prefix = home.removeprefix("s3://").partition("/")
        self._store = S3ArtifactStore(bucket, prefix)
        self._read = 0  # events that `new_events` returned

    def send_events(self, file: Path) -> None:
        """Replace the events by those of a file. Raises PlatformError when S3 fails."""
        self._store.put(EVENTS, file)

    def new_events(self) -> list[dict[str, Any]]:
        """Return the events since the last call; of a line that is not whole, nothing. Raises PlatformError when S3 fails.

        Nodes that begin again, as after Kueue suspended them, send their events anew, first those of the training state.
        """
        with tempfile.TemporaryDirectory(prefix="mynah-events-") as scratch:
            path = Path(scratch) / EVENTS
            try:
                self._store.get(EVENTS, path)
            except InputError:  # none yet
                return []
            lines = path.read_text("utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        known = self._read if len(whole) >= self._read else 0
        self._read = len(whole)
        return [json.loads(line) for line in whole[known:]]

    def sign(self) -> str:
        """Return a text that changes with each sign of life of the step; "" before the first. Raises PlatformError when S3 fails."""
        stored = self._store.files().get(ALIVE)
        return stored.digest if stored else ""

    @contextmanager
    def signs_of_life(self) -> Iterator[None]:
        """Give signs of life during the block. A bucket that refuses one does not end the step."""
        ended = threading.Event()
        thread = threading.Thread(target=self._sign_until, args=(ended,), name="signs of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _sign_until(self, ended: threading.Event) -> None:
        with tempfile.TemporaryDirectory(prefix="mynah-alive-") as scratch:
            path, count = Path(scratch) / ALIVE, 0
            while True:
                count += 1
                path.write_text(f"{count}\n")
                with suppress(PlatformError):
                    self._store.put(ALIVE, path)
                if ended.wait(SECONDS_BETWEEN_SIGNS):
                    return
