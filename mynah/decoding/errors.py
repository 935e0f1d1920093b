# ruff: noqa: N818 - errors are named by condition
"""What can be wrong with a request to generate text, named by condition. Whoever answers over a network maps them to its protocol."""

from mynah.core.errors import InputError


class InvalidParameter(InputError):
    """A parameter of a generation request has the wrong type or is out of range; `problem` names it, its value and its limits."""


class PromptTooLong(InputError):
    """A prompt leaves no room for an answer in the model's context."""
