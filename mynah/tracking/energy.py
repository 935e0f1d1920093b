"""What steps draw of the grid, and what that emits: an estimate from their seconds and kinds of node (components/power.yaml)."""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.errors import InputError
from components.fields import Field

POWER_FILE = Path(__file__).parent / "power.yaml"
JOULES_PER_WATT_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Power:
    """What each kind of node draws, and what the grid emits."""

    watts: dict[str, float]
    grams_per_kwh: float  # of CO2 equivalent


@dataclass(frozen=True, slots=True)
class Energy:
    """An estimate of what steps drew of the grid; `grams` of CO2 equivalent, `nodes` the kinds of node with their watts."""

    watt_hours: float
    grams: float
    seconds: float
    nodes: tuple[tuple[str, float], ...]
    grams_per_kwh: float


def estimate(steps: Iterable[tuple[str, float]]) -> Energy | None:
    """The energy of steps, each a kind of node and its seconds; None without steps, or where a kind's power is not known.

    A part of the energy would look like all of it. Raises InputError for a file that is no such table.
    """
    power, taken = _power(), list(steps)
    if not taken or any(kind not in power.watts for kind, _ in taken):
        return None
    watt_hours = sum(power.watts[kind] * seconds for kind, seconds in taken) / JOULES_PER_WATT_HOUR
    kinds = dict.fromkeys(kind for kind, _ in taken)
    nodes = tuple((kind, power.watts[kind]) for kind in kinds)
    grams, seconds = watt_hours / 1000 * power.grams_per_kwh, sum(seconds for _, seconds in taken)
    return Energy(watt_hours, grams, seconds, nodes, power.grams_per_kwh)


def _power() -> Power:
    return read_power(Path(os.environ.get("MYNAH_POWER") or POWER_FILE))


@functools.cache
def read_power(path: Path) -> Power:
    """Read a file like power.yaml. Raises InputError naming the file, and the key where it has another shape."""
    try:
        table = Field(path, "card", yaml.safe_load(path.read_text("utf-8")))
        watts = {str(kind): line["watts"].number() for kind, line in table["watts"].pairs()}
        grams = table["grid"]["grams_per_kwh"].number()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"the power of nodes in {path} cannot be read: {error}", "Restore the file.") from error
    except InputError as error:
        raise InputError(error.problem, "Write it as components/power.yaml is: watts per kind of node, and grid.") from error
    if grams < 0 or any(not 0 <= each < 1e6 for each in watts.values()):
        raise InputError(
            f"{path} has a negative or an absurd number", "Give watts per kind of node, and grams per kilowatt-hour."
        )
    return Power(watts, grams)
