"""card: write a model card in huggingtweets' format, a picture of a sample, and a page to share it."""

from dataclasses import replace
from pathlib import Path

from components.card.card_files import write_sample
from components.card.inputs import CardInputs, RunRecord
from components.card.pictures.pipeline import draw_pipeline
from components.card.preview import ChosenSample, Person, read_preview
from components.card.read_inputs import read_inputs
from components.card.readme import write
from components.card.select_sample import first_acceptable
from components.card.urls import check_url
from mynah.core.files import atomic_folder, refuse_foreign_folder, write_text
from mynah.core.names import bot_name
from mynah.data.avatars import MAX_BYTES, write_avatar
from mynah.data.funnel import FUNNEL_PICTURE
from mynah.data.verbatim_filter import read_bloom
from mynah.drawing.funnel_chart import draw_funnel
from mynah.registry.card_files import PIPELINE_PICTURE, README_FILE


def card(
    name: str,
    model: Path,
    data: Path,
    report: Path,
    out: Path,
    record: RunRecord | None = None,
    *,
    choose: int = 0,
    url: str = "",
) -> ChosenSample:
    """Write a bot's card: README.md, its pictures, predictions.html and card.json.

    Args:
        name: The bot's name.
        model: The folder that `mynah finetune` wrote.
        data: The folder that `mynah filter` wrote.
        report: The folder that `mynah evaluate` wrote.
        out: The folder for the card; unchanged when an error is raised.
        record: MLflow's record of the run, if there is one.
        choose: The number of the sample to show, counted from 1; 0 selects the first acceptable one.
        url: The future address of the card's files, if it is known.

    Returns:
        The content of card.json.

    Raises:
        InputError: A folder lacks a file or a key, the name or the URL is invalid, there is no such sample, or `out` overlaps
            a folder or must not be replaced.
    """
    folders = (model, data, report)
    refuse_foreign_folder(out, folders)
    inputs = read_inputs(bot_name(name), model, data, report, record, check_url(url) if url else "")
    with atomic_folder(out, folders) as folder:
        people = [_person(author.person, number, folder) for number, author in enumerate(inputs.authors, 1)]
        chosen = ChosenSample.first(inputs.name, people, inputs.prompt, inputs.samples, url)
        if chosen.samples:
            chosen = chosen.choose(choose or _first_acceptable(inputs, model))
        elif choose:
            chosen.choose(choose)  # raises
        authors = tuple(replace(author, avatar=person.avatar) for author, person in zip(inputs.authors, people, strict=True))
        inputs = replace(inputs, authors=authors)
        write_text(folder / README_FILE, write(inputs))
        draw_pipeline(inputs, folder / PIPELINE_PICTURE)
        draw_funnel(inputs.funnel_rows, [author.handle for author in inputs.authors], folder / FUNNEL_PICTURE)
        write_sample(folder, chosen)
    return read_preview(out)


def _person(person: Person, number: int, folder: Path) -> Person:
    """Return the person with a re-encoded picture in the card's folder: the original comes from an untrusted folder."""
    if not person.avatar:
        return person
    with person.avatar.open("rb") as file:
        name = write_avatar(folder, number, file.read(MAX_BYTES + 1))
    return replace(person, avatar=folder / name if name else None)


def _first_acceptable(inputs: CardInputs, model: Path) -> int:
    offending = {sample for check in inputs.verdict.checks for sample in check.samples}
    return first_acceptable(inputs.prompt, inputs.samples, offending, read_bloom(model))
