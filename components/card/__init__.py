"""The card step: a model card in huggingtweets' format, a picture of what the bot writes, and a page to share it."""

from dataclasses import replace
from pathlib import Path

from components.avatars import MOST_BYTES, write_avatar
from components.card.addresses import check_url
from components.card.facts import Facts, Record
from components.card.files import write_sample
from components.card.pick import first_sound
from components.card.pictures.funnel import draw_funnel
from components.card.pictures.pipeline import draw_pipeline
from components.card.preview import Chosen, Person, read_preview
from components.card.reading import read_facts
from components.card.write import write
from components.files import atomic_folder, write_text
from components.names import bot_name
from components.verbatim import read_bloom


def card(
    name: str,
    model: Path,
    data: Path,
    report: Path,
    out: Path,
    record: Record | None = None,
    *,
    choose: int = 0,
    url: str = "",
) -> Chosen:
    """Write the card of the bot `name` to `out`: README.md, its pictures, predictions.html and card.json. Returns what card.json holds.

    `model` is the folder of `mynah finetune`, `data` of `mynah filter`, `report` of `mynah evaluate`; `record` is what MLflow knows of
    the run. `choose` is the number of the sample that is shown, counted from 1; 0: the first that is sound. `url` is where the files
    will be seen, if that is known. Raises InputError when one of the folders lacks a file or a key, when `name` can't name a bot,
    there is no such sample, or `url` is no address; `out` is then left as it was.
    """
    facts = read_facts(bot_name(name), model, data, report, record, check_url(url) if url else "")
    with atomic_folder(out) as folder:
        people = [_person(author.person, number, folder) for number, author in enumerate(facts.authors, 1)]
        chosen = Chosen.first(facts.name, people, facts.prompt, facts.samples, url)
        if chosen.samples:
            chosen = chosen.choose(choose or _sound(facts, model))
        elif choose:
            chosen.choose(choose)  # raises
        authors = tuple(replace(author, avatar=person.avatar) for author, person in zip(facts.authors, people, strict=True))
        facts = replace(facts, authors=authors)
        write_text(folder / "README.md", write(facts))
        draw_pipeline(facts, folder / "pipeline.png")
        draw_funnel(facts.funnel, [author.handle for author in facts.authors], folder / "funnel.png")
        write_sample(folder, chosen)
    return read_preview(out)


def _person(person: Person, number: int, folder: Path) -> Person:
    """The person with a picture in the card's folder, made anew: the folder of the posts may be anybody's."""
    if not person.avatar:
        return person
    with person.avatar.open("rb") as file:
        name = write_avatar(folder, number, file.read(MOST_BYTES + 1))
    return replace(person, avatar=folder / name if name else None)


def _sound(facts: Facts, model: Path) -> int:
    offending = {sample for check in facts.checks for sample in check.samples}
    return first_sound(facts.prompt, facts.samples, offending, read_bloom(model))
