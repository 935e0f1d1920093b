"""Parses the parts of a generation request that all protocols share, and enforces the server's limits."""

import secrets
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from mynah.core.errors import InputError
from mynah.decoding.errors import InvalidParameter
from mynah.decoding.request import GenerationRequest
from mynah.models.sampling import MAX_SAMPLES, Sampling, default_min_tokens

MAX_PROMPTS = 64
SAMPLING = tuple(field.name for field in fields(Sampling))
PARAMETERS = (*SAMPLING, "stop", "repetition_penalty")


def check_limits(request: GenerationRequest) -> GenerationRequest:
    """Return the request. Raises InvalidParameter for more than MAX_PROMPTS prompts or MAX_SAMPLES texts."""
    count, n = len(request.prompts), request.sampling.n
    if not 1 <= count <= MAX_PROMPTS:
        raise InvalidParameter(f"a request takes 1 to {MAX_PROMPTS} prompts, and this one has {count}")
    if count * n > MAX_SAMPLES:
        raise InvalidParameter(f"{count} prompts x n = {n} are {count * n} texts; the most is {MAX_SAMPLES}")
    return request


def read_stop(value: object) -> tuple[str, ...]:
    """Return one or several stop strings as a tuple. Raises InvalidParameter."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise InvalidParameter("stop must be a string or a list of strings")
    return tuple(value)


def read_sampling(values: Mapping[str, Any]) -> Sampling:
    """Return sampling parameters.

    Args:
        values: Fields of Sampling. Missing ones have their defaults; a missing seed is random.

    Returns:
        The parameters.

    Raises:
        InvalidParameter: A value has the wrong type or is out of range.
    """
    values = {"seed": secrets.randbelow(2**32), **values}
    if type(values.get("max_tokens")) is int:
        values.setdefault("min_tokens", default_min_tokens(values["max_tokens"]))
    try:
        sampling = Sampling(**values)
    except InputError as error:
        raise InvalidParameter(error.problem) from error
    # JSON writes 2.0 as 2
    return replace(sampling, temperature=float(sampling.temperature), top_p=float(sampling.top_p))
