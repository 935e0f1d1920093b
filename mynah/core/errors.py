"""The exceptions that Mynah raises, drawn once.

    MynahError            exit code 1
    ├── InputError        2   what the user gave is wrong: a source, a name, a recipe, a model folder
    ├── PlatformError     3   what Mynah stands on failed: disk, network, tracking server
    │   └── StoreRefused      a store answered, and said no: trying again does not help
    └── GateRefused       4   the verdict or the champion says no

An interrupted command (Ctrl-C, SIGTERM) ends with 130, a usage error of the command line with 2 (Click's own).
"""

import signal


class MynahError(Exception):
    """An error that a person can act on: what is wrong (with the offending value), and how to mend it."""

    exit_code = 1

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n{self.fix}" if self.fix else self.problem


class InputError(MynahError):
    """What the user gave cannot be used."""

    exit_code = 2


class PlatformError(MynahError):
    """Something that Mynah stands on failed: a full disk, an unreachable server."""

    exit_code = 3


class StoreRefused(PlatformError):  # noqa: N818 - a refusal is an answer, not a fault
    """A store answered, and said no: a wrong key, a bucket that is not there."""


class GateRefused(MynahError):  # noqa: N818 - a refusal is an answer, not a fault
    """A model fell short of the gate or of the champion."""

    exit_code = 4


INTERRUPTED = 130
BY_NAME = {kind.__name__: kind for kind in (MynahError, InputError, PlatformError, StoreRefused, GateRefused)}

# What an error calls a type, for people who do not write Python.
NAME_OF_TYPE = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", dict: "names with numbers"}


def interrupt_on_sigterm() -> None:
    """Take SIGTERM, by which Kubernetes and service managers end a process, for Ctrl-C: nothing half-written stays."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
