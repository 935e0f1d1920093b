"""`mynah card`: writes a card from the folders of earlier steps, or changes the sample of a registered bot's card."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.progress import strip_control_chars, waiting
from mynah.mlflow_client.store import cards_folder
from pipelines.cli.options import existing, print_json, require_apart, result

if TYPE_CHECKING:
    from components.card.preview import ChosenSample


def card_of_folders(name: str, model: Path, data: Path, report: Path, out: Path, choose: int, url: str, as_json: bool) -> None:
    """Write a card from folders, and print its path.

    Args:
        name: The bot's name.
        model: The folder that `mynah finetune` wrote.
        data: The folder that `mynah filter` wrote.
        report: The folder that `mynah evaluate` wrote.
        out: The folder to write.
        choose: The number of the displayed sample, from 1; 0 chooses the first suitable one.
        url: The public URL of the card's files, or "".
        as_json: Whether to print JSON.
    """
    with waiting("Writing the card"):
        from components.card.step import card

        chosen = card(name, model, data, report, out, choose=choose, url=url)
    _show_written(_written(out) | {"chosen": chosen.chosen}, as_json)


def card_of_bot(name: str, workdir: Path, version: int, choose: int, url: str, out: Path | None, as_json: bool) -> None:
    """List the samples of a registered bot's card; with `choose` or `url`, change the card and write it.

    Args:
        name: The bot's name.
        workdir: The work folder.
        version: The bot's version; 0 is the champion, or else the newest.
        choose: The number of the displayed sample, from 1; 0 does not change it.
        url: The public URL of the card's files; "" does not change it.
        out: The folder to write; None is one in the work folder.
        as_json: Whether to print JSON.
    """
    if not choose and not url:
        _list(name, workdir, version, as_json)
        return
    if out:
        require_apart(out, workdir=workdir)
    with waiting("Drawing the card"):
        from components.card.choose_sample import choose as choose_sample
        from components.card.choose_sample import stored_card
        from mynah.storage.work_folder import require_own_parts
        from mynah.tracking.open import open_store

        store = open_store(existing(workdir))
        require_own_parts(store)
        card = stored_card(store, name, version)
        target = out or cards_folder(workdir) / card.bot
        chosen = choose_sample(card, choose, target, url)
    _show_written(_written(target) | {"version": card.version, "chosen": chosen.chosen}, as_json)


def _list(name: str, workdir: Path, version: int, as_json: bool) -> None:
    import tempfile

    with waiting("Reading the card"), tempfile.TemporaryDirectory(prefix="mynah-card-") as scratch:
        from components.card.choose_sample import fetch_card, stored_card
        from mynah.tracking.open import open_store

        card = stored_card(open_store(existing(workdir)), name, version)
        chosen = fetch_card(card, Path(scratch))
    if as_json:
        print_json(_record(card.version, chosen))
    else:
        _show(card.version, chosen)


def _record(version: int, chosen: "ChosenSample") -> dict[str, Any]:
    return {
        "name": chosen.name, "version": version, "prompt": chosen.prompt, "samples": list(chosen.samples), "chosen": chosen.chosen,
        "url": chosen.url,
    }  # fmt: skip


def _show(version: int, chosen: "ChosenSample") -> None:
    from mynah.data.markdown import clean

    for number, sample in enumerate(chosen.samples, 1):
        print(f"{'*' if number == chosen.chosen else ' '}{number:>3}  {strip_control_chars(clean(sample)) or '(nothing)'}")
    print(f"\n* is what the card of version {version} shows; `mynah card {chosen.name} --choose K` shows another.")


def _written(folder: Path) -> dict[str, Any]:
    from mynah.registry.card_files import PAGE_FILE, PICTURE_FILE, README_FILE

    return {"card": str(folder / README_FILE), "picture": str(folder / PICTURE_FILE), "page": str(folder / PAGE_FILE)}


def _show_written(written: dict[str, Any], as_json: bool) -> None:
    result(written, "\n".join(str(written[key]) for key in ("card", "picture", "page")), as_json)
