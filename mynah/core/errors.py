"""The exceptions that Mynah raises.

    MynahError            exit code 1
    ├── InputError        2   the user's input is invalid: a source, a name, a recipe, a model folder
    ├── PlatformError     3   the platform failed: disk, network, tracking server
    │   └── StoreRefused      a store rejected the request: retrying does not help
    ├── GateRefused       4   the verdict or the champion forbids it
    └── RunCanceled       5   somebody canceled the run

An interrupted command (Ctrl-C, SIGTERM) exits with 130, a usage error of the command line with 2 (Click's own).
"""

import signal


class MynahError(Exception):
    """An error that a person can act on: the problem, with the offending value, and the fix."""

    exit_code = 1

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n{self.fix}" if self.fix else self.problem


class InputError(MynahError):
    """The user's input cannot be used."""

    exit_code = 2


class PlatformError(MynahError):
    """The platform failed, such as a full disk or an unreachable server."""

    exit_code = 3


class StoreRefused(PlatformError):  # noqa: N818 - a refusal is a result, not a failure
    """A store rejected the request, such as for a wrong key or a missing bucket."""


class GateRefused(MynahError):  # noqa: N818 - a refusal is a result, not a failure
    """A model failed the gate or the comparison with the champion."""

    exit_code = 4


class RunCanceled(MynahError):  # noqa: N818 - a decision of a person, not a failure
    """Somebody canceled the run."""

    exit_code = 5


INTERRUPTED = 130
BY_NAME = {kind.__name__: kind for kind in (MynahError, InputError, PlatformError, StoreRefused, GateRefused, RunCanceled)}

# How messages name a type, for people who do not write Python.
NAME_OF_TYPE = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", dict: "names with numbers"}


def interrupt_on_sigterm() -> None:
    """Handle SIGTERM, with which Kubernetes and service managers stop a process, like Ctrl-C, so that cleanup runs."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
