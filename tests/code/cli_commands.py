"""`mynah` in a process of its own, and how it refuses."""

import os
import subprocess
import sys


def mynah(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,  # no limit of its own: pytest's is enough, and a busy machine takes long to import kfp
    )


def refused(done, code, *said):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    for text in said:
        assert text in done.stderr
    assert done.stdout == ""
