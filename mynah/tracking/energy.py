"""Estimate the energy and emissions of steps from their seconds and kinds of node (mynah/tracking/power.yaml)."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from mynah.core.errors import InputError
from mynah.core.json_reader import JsonField
from mynah.core.machine import nodes_of
from mynah.core.settings import MYNAH_POWER

POWER_FILE = Path(__file__).parent / "power.yaml"
JOULES_PER_WATT_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Power:
    """The power of each kind of node, and the grid's emissions."""

    watts: dict[str, float]
    grams_per_kwh: float  # of CO2 equivalent


@dataclass(frozen=True, slots=True)
class Energy:
    """An estimate for steps; `grams` of CO2 equivalent, `nodes` the kinds of node with their watts."""

    watt_hours: float
    grams: float
    seconds: float
    nodes: tuple[tuple[str, float], ...]
    grams_per_kwh: float


def estimate(steps: Iterable[tuple[str, float]]) -> Energy | None:
    """Estimate the energy of steps, each a kind of node and its seconds.

    Returns None without steps, or where a kind's power is unknown: a partial sum would look like the total. Raises InputError for an
    invalid table.
    """
    power, measured = _power(), list(steps)
    kinds = {kind: nodes_of(kind) for kind, _ in measured}  # "2 x gpu": two nodes of a kind
    if not measured or any(kind not in power.watts for _, kind in kinds.values()):
        return None
    watts = {name: count * power.watts[kind] for name, (count, kind) in kinds.items()}
    watt_hours = sum(watts[kind] * seconds for kind, seconds in measured) / JOULES_PER_WATT_HOUR
    nodes = tuple(watts.items())
    grams, seconds = watt_hours / 1000 * power.grams_per_kwh, sum(seconds for _, seconds in measured)
    return Energy(watt_hours, grams, seconds, nodes, power.grams_per_kwh)


def _power() -> Power:
    return read_power(MYNAH_POWER.get() or POWER_FILE)


@functools.cache
def read_power(path: Path) -> Power:
    """Read a file like power.yaml. Raises InputError naming the file, and the invalid key."""
    try:
        table = JsonField(path, "card", yaml.safe_load(path.read_text("utf-8")))
        watts = {str(kind): line["watts"].number() for kind, line in table["watts"].pairs()}
        grams = table["grid"]["grams_per_kwh"].number()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"the power of nodes in {path} cannot be read: {error}", "Restore the file.") from error
    except InputError as error:
        raise InputError(error.problem, "Write it like mynah/tracking/power.yaml: watts per kind of node, and grid.") from error
    if grams < 0 or any(not 0 <= value < 1e6 for value in watts.values()):
        raise InputError(
            f"{path} has a negative or implausible number", "Give watts per kind of node, and grams per kilowatt-hour."
        )
    return Power(watts, grams)
