"""What an erasure concerns, in words: bots, versions, runs, published copies, and files counted by their place."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.forget.inventory import Inventory
from components.forget.subject import Subject
from mynah.maintenance.erasers import STORED, ErasableItem
from mynah.maintenance.kubeflow_records import RUN, SCHEDULE

if TYPE_CHECKING:
    from components.forget.shared_runs import RemainingPosts

MAX_PLACES = 4  # folders and buckets that are named


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` did, or would do."""

    subject: Subject
    items: list[ErasableItem]
    blends: list[str]  # bots that also used other authors
    receipt: Path | None  # None when nothing was erased: a dry run
    retrain: "list[RemainingPosts]"  # blends to train again from the other authors' posts
    runs: Sequence[str] = ()  # the bot of each pipeline run
    not_searched: Sequence[str] = ()  # where something of the subject may remain


def planned(
    subject: Subject, items: list[ErasableItem], blends: list[str], inventory: Inventory, not_searched: Sequence[str]
) -> Forgotten:
    """Return what would be erased."""
    return Forgotten(subject, items, blends, None, [], [run.bot for run in inventory.runs], not_searched)


def describe(plan: Forgotten, workdir: Path | None) -> list[str]:
    """Return what an erasure concerns, a line each.

    Args:
        plan: What is erased.
        workdir: The work folder, below which files are counted by folder.
    """
    of_kind: dict[str, list[str]] = {}
    for item in plan.items:
        if item.kind != "file" or item.digest:  # folders and links are counted with the files in them
            of_kind.setdefault(item.kind, []).append(item.address)
    bots = of_kind.get("bot", [])
    lines = [f"the bot {bot}{_versions(bot, of_kind)}" for bot in bots]
    kept = sorted({address.split("/")[0] for address in of_kind.get("version", [])} - set(bots))
    lines += [f"of the bot {bot}, which stays{_versions(bot, of_kind)}" for bot in kept]
    if plan.runs:
        of_bots = ", ".join(sorted(set(plan.runs)))
        lines.append(f"{_count(len(plan.runs), 'pipeline run')} of {of_bots}, with {_records(of_kind)}")
    lines += [f"the published copy {address}" for address in of_kind.get("published", [])]
    lines += [f"the inference service {address}" for address in of_kind.get("endpoint", [])]
    if in_kubeflow := [
        _count(len(of_kind[kind]), noun) for kind, noun in ((RUN, "run"), (SCHEDULE, "schedule")) if kind in of_kind
    ]:
        lines.append(f"{' and '.join(in_kubeflow)} in Kubeflow, ended first")
    files, stored = of_kind.get("file", []), [address for kind in STORED for address in of_kind.get(kind, [])]
    if files:
        lines.append(f"{_count(len(files), 'file')} on this machine, in {_places(files, workdir)}")
    if stored:
        lines.append(f"{_count(len(stored), 'stored object')}, versions and uploads included, in {_places(stored, None)}")
    return lines


def _versions(bot: str, of_kind: dict[str, list[str]]) -> str:
    numbers = sorted(
        int(number) for name, _, number in (each.partition("/") for each in of_kind.get("version", [])) if name == bot
    )
    if not numbers:
        return ", which has no version"
    return f", {'version' if len(numbers) == 1 else 'versions'} {', '.join(map(str, numbers))}"


def _records(of_kind: dict[str, list[str]]) -> str:
    models = len(of_kind.get("model", []))
    return f"{_count(len(of_kind.get('run', [])), 'record')} and {_count(models, 'stored model')}"


def _places(addresses: Sequence[str], workdir: Path | None) -> str:
    """Return the places that hold the most of some files or objects, with the number in each."""
    counts = Counter(_place(address, workdir) for address in addresses).most_common()
    named = ", ".join(f"{place} ({count:,})" for place, count in counts[:MAX_PLACES])
    rest = sum(count for _, count in counts[MAX_PLACES:])
    return f"{named} and elsewhere ({rest:,})" if rest else named


def _place(address: str, workdir: Path | None) -> str:
    """Return the bucket of an object, or the folder of a file: below the work folder the first one."""
    if address.startswith("s3://"):
        return "/".join(address.split("/")[:3])
    path = Path(address)
    if workdir and path.is_relative_to(workdir):
        inside = path.relative_to(workdir).parts
        return str(workdir / inside[0]) if len(inside) > 1 else str(workdir)
    return str(path.parent)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
