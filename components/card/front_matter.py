"""The card's metadata for the Hugging Face hub: YAML between `---` lines at the head of README.md.

Only functions import huggingface_hub, which is of the extra `card`.
"""

from typing import TYPE_CHECKING, Any

import yaml

from components.card.inputs import PROMPT, CardInputs
from components.card.urls import CardUrls
from mynah.core.errors import InputError
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import HUB_NAME
from mynah.models.catalogue import find, licenses
from mynah.models.metric_definitions import METRICS
from mynah.tracking.energy import Energy

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

MEASURED = {
    "held_out_loss": "loss",
    "perplexity": "perplexity",
    "bits_per_character": "bits_per_character",
}  # the hub's names of these metrics


def front_matter(inputs: CardInputs) -> str:
    """Return the metadata between `---` lines; it contains no author's text.

    The keys are those of https://huggingface.co/docs/hub/model-cards and https://huggingface.co/docs/hub/model-cards-co2.
    """
    from huggingface_hub import ModelCardData

    results, base_model = _results(inputs), inputs.training.base_model
    hub = hub_name(base_model)
    metadata = ModelCardData(
        language=list(inputs.funnel.languages) or None,
        **license_metadata(base_model.known_license),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["mynah", base_model.family, "text-generation"],
        base_model=hub,
        base_model_relation="finetune" if hub else None,
        metrics=[result.metric_type for result in results],
        model_name=inputs.name,
        eval_results=results,
        thumbnail=CardUrls.of(inputs.url).picture,
        widget=[{"text": PROMPT}],
        co2_eq_emissions=_emissions(inputs.record.energy) if inputs.record.energy else None,
    )
    return f"---\n{metadata.to_yaml()}\n---"


def license_metadata(base_license: str) -> dict[str, Any]:
    """Return the metadata on licences.

    The weights derive from posts that belong to their authors, so Mynah cannot license them; but the base model's licence may say that it is
    the derivative's too.
    """
    known = licenses().get(base_license)
    if known and known.passes_on:
        return {"license": known.id, "license_link": known.url, "base_model_license": known.id}
    return {"license": "other", "license_name": "derived-from-its-authors-posts", "base_model_license": base_license}


def with_new_url(readme: str, url: str, base_license: str = "") -> str:
    """Return a card's README.md with the thumbnail at another URL, and with the base model's licence where one is given.

    Raises InputError for an invalid URL, or a README.md whose metadata cannot be read.
    """
    from huggingface_hub import ModelCard

    picture = CardUrls.of(url).picture
    try:
        card = ModelCard(readme, ignore_metadata_errors=True)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"the metadata of the card's README.md cannot be read: {error}", "Run `mynah card` again.") from error
    card.data["thumbnail"] = picture
    if base_license:
        metadata = license_metadata(base_license)
        # Where the base model's licence is not the derivative's too, the card's own stays.
        keys = ("license", "license_name", "license_link") if metadata["license"] == base_license else ()
        for key in (*keys, "base_model_license"):
            card.data[key] = metadata.get(key)
    return str(card)


def hub_name(base_model: BaseModelRecord) -> str | None:
    """Return the base model's hub id, or that of what the catalogue's was made from; None for fledgling and folders."""
    if base_model.is_folder:
        return None
    if entry := find(base_model.name):
        return (entry.source.hub if entry.source.is_local else base_model.name) or None
    return base_model.name if HUB_NAME.fullmatch(base_model.name) else None


def _results(inputs: CardInputs) -> "list[EvalResult]":
    """Return the metrics on held-out posts. These are no dataset of the hub, so they have a type of their own."""
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
        if (value := inputs.metrics.get(metric)) is not None
    ]


def _emissions(energy: Energy) -> dict[str, object]:
    return {
        "emissions": float(f"{energy.grams:.3g}"),
        "source": "estimated by Mynah from the seconds of each step, the power of its kind of node and a grid's average",
        "training_type": "fine-tuning",
    }
