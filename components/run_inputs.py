"""The specification of one bot's run, as the steps read it: spec.json in the bucket, run.json in a run's folder on a laptop.

`RunSpec` (pipelines/run_spec.py) validates what a person asks for and writes it. The steps read it by its reference, so that names, sources
and recipes are no parameters of Kubeflow, whose parameters are templates and stay in its database.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from components.handover import read_file
from mynah.core.errors import InputError
from mynah.core.json_reader import finite


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What the steps of a bot's run are told."""

    name: str
    sources: list[str]
    base_model: str
    rules: str = "default"
    recipe: dict[str, Any] = field(default_factory=dict)  # {"preset": …, "changes": {…}}
    limit: int = 0  # posts of each source; 0: all
    seed: int = 42
    budget: float = 0.0  # US dollars for the whole run; 0: no limit
    start: str = "base"  # the model from which fine-tuning starts: base, or champion
    basis: str = ""  # the legal basis for posts whose source records none
    max_cost: float = 0.0  # US dollars for X's API; 0: nothing, -1: no limit
    columns: dict[str, str] = field(default_factory=dict)  # of tables: the names of the columns text, author and time
    space: str = ""  # the search space of a sweep; "": no search
    minutes: float = 0.0  # for the whole run of a sweep; 0: no limit
    only_news: bool = False  # end without training where there are no new posts
    serve_in: str = ""  # the namespace of the bot's own service; "": none

    def to_bytes(self) -> bytes:
        """Return the file's content: ASCII, in which any text survives, also one that is not Unicode."""
        return json.dumps(asdict(self), indent=1).encode("ascii")

    def write(self, path: Path) -> str:
        """Write the file, and return its reference on this machine."""
        path.write_bytes(self.to_bytes())
        return str(path)


def read_inputs(reference: str) -> RunInputs:
    """Read a specification.

    Args:
        reference: Of spec.json in a bucket, with its digest, or the path of run.json.

    Raises:
        InputError: The file does not exist, is not JSON, or a field is missing, unknown or of another type; the message names it.
        PlatformError: It was changed, or S3 fails.
    """
    where = reference.partition("#")[0]
    try:
        record = json.loads(read_file(reference))
    except (ValueError, RecursionError) as error:
        raise _wrong(where, f"is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise _wrong(where, "is no object")
    known = {each.name: each for each in fields(RunInputs)}
    if unknown := next((name for name in record if name not in known), ""):
        raise _wrong(where, f"has the unknown field {unknown[:40]!r}")
    if missing := next((name for name in known if name not in record), ""):
        raise _wrong(where, f"has no field {missing!r}")
    for name, value in record.items():
        what, is_right = KINDS[known[name].type]
        if not is_right(value):
            raise _wrong(where, f"has at {name!r} what is not {what}")
    return RunInputs(**record)


def _wrong(where: str, how: str) -> InputError:
    return InputError(
        f"the run's specification {where} {how}",
        "Start the run again, with the version of Mynah that the steps' images have.",
    )


def _is_number(value: object) -> bool:
    try:
        finite(value)
    except TypeError:
        return False
    return True


def _are_texts(values: Any) -> bool:  # noqa: ANN401 - JSON is any of its types
    return all(isinstance(value, str) for value in values)


KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a finite number", _is_number),
    list[str]: ("a list of texts", lambda value: isinstance(value, list) and _are_texts(value)),
    dict[str, str]: ("texts by name", lambda value: isinstance(value, dict) and _are_texts(value.values())),
    dict[str, Any]: ("an object", lambda value: isinstance(value, dict)),
}
