"""The card step: a model card in huggingtweets' format, and a picture of what the bot writes."""

from pathlib import Path

from components.card.facts import read_facts
from components.card.pictures import draw
from components.card.preview import Chosen, Person
from components.card.write import write
from components.files import atomic_folder, write_text
from components.names import bot_name


def card(name: str, model: Path, data: Path, report: Path, out: Path, cost_usd: float | None = None) -> None:
    """Write the card of the bot `name` to `out`: README.md and predictions.png.

    `model` is the folder of `mynah finetune`, `data` of `mynah filter`, `report` of `mynah evaluate`;
    `cost_usd` is what the steps before cost, where it is known. Raises InputError when one
    of them lacks a file or a key, or when `name` can't name a bot; `out` is then left as it was.
    """
    facts = read_facts(bot_name(name), model, data, report, cost_usd)
    with atomic_folder(out) as folder:
        write_text(folder / "README.md", write(facts))
        people = [Person(author.handle, author.display_name) for author in facts.authors]
        draw(Chosen.first(facts.name, people, facts.prompt, facts.samples).preview, folder / "predictions.png")
