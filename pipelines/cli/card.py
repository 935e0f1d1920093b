"""`mynah card`: from the folders of the steps before, or of a registered bot, whose samples can be chosen from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.events import visible, waiting
from components.store import cards_folder
from pipelines.options import existing, print_json, result

if TYPE_CHECKING:
    from components.card.preview import Chosen


def card_of_folders(name: str, model: Path, data: Path, report: Path, out: Path, choose: int, url: str, as_json: bool) -> None:
    """Write a card from folders, and print where it is. `choose` 0: the first sample that is sound."""
    with waiting("Writing the card"):
        from components.card import card

        chosen = card(name, model, data, report, out, choose=choose, url=url)
    _tell(_written(out) | {"chosen": chosen.chosen}, as_json)


def card_of_bot(name: str, workdir: Path, version: int, choose: int, url: str, out: Path | None, as_json: bool) -> None:
    """List the samples of a registered bot's card; with `choose` or `url`, change what it shows, and write it to `out`."""
    if not choose and not url:
        _list(name, workdir, version, as_json)
        return
    with waiting("Drawing the card"):
        from components.card.choose import choose as work
        from components.card.choose import stored_card
        from components.store import open_store

        card = stored_card(open_store(existing(workdir)), name, version)
        target = out or cards_folder(workdir) / card.bot
        chosen = work(card, choose, target, url)
    _tell(_written(target) | {"version": card.version, "chosen": chosen.chosen}, as_json)


def _list(name: str, workdir: Path, version: int, as_json: bool) -> None:
    import tempfile

    with waiting("Reading the card"), tempfile.TemporaryDirectory(prefix="mynah-card-") as scratch:
        from components.card.choose import fetch_card, stored_card
        from components.store import open_store

        card = stored_card(open_store(existing(workdir)), name, version)
        chosen = fetch_card(card, Path(scratch))
    if as_json:
        print_json(_record(card.version, chosen))
    else:
        _show(card.version, chosen)


def _record(version: int, chosen: "Chosen") -> dict[str, Any]:
    return {
        "name": chosen.name, "version": version, "prompt": chosen.prompt, "samples": list(chosen.samples), "chosen": chosen.chosen,
        "url": chosen.url,
    }  # fmt: skip


def _show(version: int, chosen: "Chosen") -> None:
    from components.card.escape import clean

    for number, sample in enumerate(chosen.samples, 1):
        print(f"{'*' if number == chosen.chosen else ' '}{number:>3}  {visible(clean(sample)) or '(nothing)'}")
    print(f"\n* is what the card of version {version} shows; `mynah card {chosen.name} --choose K` shows another.")


def _written(folder: Path) -> dict[str, Any]:
    from components.card.addresses import PAGE, PICTURE

    return {"card": str(folder / "README.md"), "picture": str(folder / PICTURE), "page": str(folder / PAGE)}


def _tell(written: dict[str, Any], as_json: bool) -> None:
    result(written, "\n".join(str(written[key]) for key in ("card", "picture", "page")), as_json)
