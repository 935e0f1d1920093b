"""Reads the logs of a run's steps: from Mynah's bucket, or from Kubeflow for runs of earlier versions."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mynah.core.errors import MynahError
from mynah.core.progress import strip_control_chars
from mynah.storage.base import fetch_text
from mynah.storage.run_files import LOGS, SPEC_FILE, RunFiles, parse
from mynah.storage.s3 import S3ArtifactStore, s3_client, s3_errors
from pipelines.kubeflow.records import KubeflowRun

# Lines of Kubeflow's launcher (Go's log format), of its executor and of Argo's.
OWN_LINE = re.compile(
    r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.go:\d+\] |\[KFP Executor[^\]]*\]|time=\S+ level=\w+ msg=|.*RuntimeWarning: 'kfp\."
)
OPENS_JSON = ("{", "executor_input:")  # at the end of such a line: indented JSON follows
FILE = re.compile(r"(.+)-(\d+)\.log")
OTHER_NAMES = {"filter-posts": ("filter",)}  # what a step calls itself, where that is not its name in the pipeline
PARTS = {"trial": "trial-", "finetune": "finetune-node-"}  # what else is the log of a step: each trial's, each training node's


@dataclass(frozen=True, slots=True)
class StepLog:
    """The log of one attempt of a step of one bot."""

    files: RunFiles
    folder: str
    step: str
    attempt: int

    def read(self) -> str:
        """Return the text; what was uploaded last may end within a character. Raises PlatformError when S3 fails."""
        key = f"{self.folder}/{self.step}-{self.attempt}.log"
        with s3_errors(f"reading s3://{self.files.bucket}/{key}"):
            text = s3_client().get_object(Bucket=self.files.bucket, Key=key)["Body"].read().decode("utf-8", "replace")
        return strip_control_chars(text)


def files_of(parameters: Any) -> list[RunFiles]:  # noqa: ANN401 - any JSON
    """Return the runs in Mynah's bucket that the parameters of a Kubeflow run refer to: one, or one for each bot of a fleet."""
    found: list[RunFiles] = []
    for text in _texts(parameters):
        files = parse(text)
        if files and files not in found:
            found.append(files)
    return found


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def logs_in_bucket(run: KubeflowRun, step: str) -> list[StepLog]:
    """Return the logs of a step in Mynah's bucket, by bot and attempt; [] for a run of an earlier version. Raises PlatformError."""
    found = []
    names = (step, *OTHER_NAMES.get(step, ()))
    for files in files_of(run.parameters):
        folder = f"{files.prefix}/{run.run_id}/{LOGS}"
        for name in S3ArtifactStore(files.bucket, folder).files():
            match = FILE.fullmatch(name)
            if match and (match[1] in names or (step in PARTS and match[1].startswith(PARTS[step]))):
                found.append(StepLog(files, folder, match[1], int(match[2])))
    return sorted(found, key=lambda log: (log.files.id, _number(log.step), log.attempt))


def _number(step: str) -> tuple[int, str]:
    tail = step.rpartition("-")[2]
    return (int(tail) if tail.isdecimal() else 0, step)


def bot_of(files: RunFiles) -> str:
    """Return the bot's name by its specification in the bucket; "" where that cannot be read."""
    try:
        record = json.loads(fetch_text(S3ArtifactStore(files.bucket, files.prefix), SPEC_FILE))
        return strip_control_chars(str(record["name"]))
    except (MynahError, ValueError, KeyError, TypeError):
        return ""


def without_own_lines(text: str) -> str:
    """Return a log without the lines of Kubeflow's launcher and executor, and the JSON that they print."""
    lines = text.splitlines(keepends=True)
    kept, at = [], 0
    while at < len(lines):
        if not OWN_LINE.match(lines[at]):
            kept.append(lines[at])
        elif lines[at].rstrip().endswith(OPENS_JSON):
            end = next((number for number in range(at + 1, len(lines)) if lines[number].rstrip() == "}"), at)
            at = end
        at += 1
    return "".join(kept)
