"""The card's metadata, which the Hugging Face hub reads: YAML between `---` lines at the head of README.md."""

from typing import TYPE_CHECKING

import yaml

from components.card.addresses import Addresses
from components.card.facts import PROMPT, Facts, Training
from components.energy import Energy
from components.errors import InputError
from components.evaluate.definitions import METRICS
from components.finetune.base_model import FLEDGLING, HUB_NAME

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

MEASURED = {
    "held_out_loss": "loss",
    "perplexity": "perplexity",
    "bits_per_character": "bits_per_character",
}  # the hub's word for each


def front_matter(facts: Facts) -> str:
    """The metadata between `---` lines; nothing of an author's is in it.

    https://huggingface.co/docs/hub/model-cards and /model-cards-co2 say what each key means.
    """
    from huggingface_hub import ModelCardData

    results = _results(facts)
    metadata = ModelCardData(
        language=list(facts.languages) or None,
        license="other",  # the weights derive from posts that belong to their authors: no licence of Mynah's can cover them
        license_name="derived-from-its-authors-posts",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["mynah", "gpt2", "text-generation"],
        base_model=facts.training.base if on_the_hub(facts.training) else None,
        base_model_relation="finetune" if on_the_hub(facts.training) else None,
        metrics=[result.metric_type for result in results],
        model_name=facts.name,
        eval_results=results,
        thumbnail=Addresses.of(facts.url).picture,
        widget=[{"text": PROMPT}],
        co2_eq_emissions=_emissions(facts.record.energy) if facts.record.energy else None,
    )
    return f"---\n{metadata.to_yaml()}\n---"


def readdressed(readme: str, url: str) -> str:
    """A card's README.md for another address: its thumbnail is there now.

    Raises InputError for what is no address, or a README.md whose metadata cannot be read.
    """
    from huggingface_hub import ModelCard

    picture = Addresses.of(url).picture
    try:
        card = ModelCard(readme, ignore_metadata_errors=True)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"the metadata of the card's README.md cannot be read: {error}", "Make the card again.") from error
    card.data["thumbnail"] = picture
    return str(card)


def on_the_hub(made: Training) -> bool:
    """Whether the base model's name is a hub id (`gpt2`, `openai-community/gpt2`), and neither ours nor a folder's."""
    return made.base != FLEDGLING and not made.base_is_folder and HUB_NAME.fullmatch(made.base) is not None


def _results(facts: Facts) -> "list[EvalResult]":
    """What was measured on held-out posts. A data set of the hub they are not, so they get a type of their own."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            task_name="Text generation",
            dataset_type="held-out-posts",
            dataset_name="Posts held out of training",
            dataset_split="held_out",
            metric_type=kind,
            metric_name=f"{METRICS[metric].label} ({METRICS[metric].unit})",
            metric_value=round(value, 6),
        )
        for metric, kind in MEASURED.items()
        if (value := facts.metrics.get(metric)) is not None
    ]


def _emissions(energy: Energy) -> dict[str, object]:
    return {
        "emissions": float(f"{energy.grams:.3g}"),
        "source": "estimated by Mynah from the seconds of each step, the power of its kind of node and a grid's average",
        "training_type": "fine-tuning",
    }
