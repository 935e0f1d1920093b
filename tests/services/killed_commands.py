"""Commands of `mynah` that kill themselves for real before the N-th call of something, each in a process of its own."""

import json
import os
import subprocess

from tests.fork_client import RUN_CODE

# One process imports everything once, which takes seconds, and is forked for each command. The child's stdout is its stderr:
# on stdout the parent answers with exit codes.
FORKING = """
import json, os, signal, sys, threading
import components.forget.step, components.promote.step, pipelines.cli.main
{patch}
count, counting = 0, threading.Lock()
def killing(call):
    def killed(*args, **kwargs):
        global count
        with counting:  # several things in S3 are erased at once
            if count == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            count -= 1
        return call(*args, **kwargs)
    return killed
for line in sys.stdin:
    count, environment, *arguments = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        os.environ.clear()
        os.environ.update(environment)
        patch()
        sys.argv = ["mynah", *arguments]
        pipelines.cli.main.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class KilledCommands:
    """Runs commands after the Python code `patch`, a function `patch()` that wraps what counts in `killing(…)`."""

    def __init__(self, patch: str) -> None:
        command = [*RUN_CODE, FORKING.format(patch=patch)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, count: int, *arguments: object) -> int:
        """Run mynah until the call number `count`, from 0, in this process' environment of now; its exit code, -9 when it was killed."""
        self.process.stdin.write(json.dumps([count, dict(os.environ), *map(str, arguments)]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


FORGETTING = """
from mynah.maintenance.erasers import Eraser
def patch():
    Eraser.erase = killing(Eraser.erase)
    if count < 0:  # not before something is erased, but before the receipt is written
        components.forget.step.signed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
