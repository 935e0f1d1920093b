"""The card's section on training: base model, recipe, time, cost, and the loss after each epoch."""

from components.card.inputs import CardInputs
from components.card.markdown_table import number, table
from mynah.data.markdown import code, markdown
from mynah.tracking.energy import Energy
from mynah.training.training_record import CONTINUE, START_OVER, ContinueRecord, TrainingRecord


def training(inputs: CardInputs) -> str:
    """Return the section."""
    training, continual = inputs.training, inputs.training.continual
    first = "the earlier version" if continual and continual.has_continued else "the base model"
    losses = [
        [
            f"{entry.epoch}{' (kept)' if entry.epoch == training.best_epoch else ''}",
            number(entry.train_loss),
            number(entry.held_out_loss),
        ]
        for entry in training.history
    ]
    return "\n".join(
        [
            "## Training procedure",
            "",
            table(["Setting", "Value"], _settings(inputs), ":--"),
            "",
            *([_unchanged(inputs) if training.is_unchanged else _continual(continual), ""] if continual else []),
            f"Loss after each epoch, in nats per token; epoch 0 is {first} before any training:",
            "",
            table(["Epoch", "Training loss", "Held-out loss"], losses),
            "",
            *_reproduction(training),
        ]
    )


def _reproduction(training: TrainingRecord) -> list[str]:
    """Return what makes the same weights again; for an earlier version's weights, where that is written."""
    if training.is_unchanged and training.continual:
        return [f"To reproduce the weights, see the card of {earlier_model(training.continual)}."]
    return [
        "To reproduce it:",
        "",
        f"- data: {code(training.data_digest)}",
        f"- base model: {code(training.base_model.digest)}",
        *(f"- {markdown(package)} {code(version)}" for package, version in training.versions.items()),
    ]


def _settings(inputs: CardInputs) -> list[tuple[str, str]]:
    training, record = inputs.training, inputs.record
    rows = [
        ("Base model", markdown(training.base_model.name)),
        *([("Adapter", _adapter(inputs))] if inputs.adapter_bytes else []),
        *(
            (markdown(setting.replace("_", " ").capitalize()), markdown(str(value), 200))
            for setting, value in training.recipe.items()
            if value != {}
        ),
        ("Posts", f"{training.posts:,}{', of the earlier version' if training.is_unchanged else ''}"),
        ("Tokens", f"{training.tokens:,}"),
        ("Steps", f"{training.steps:,}"),
        ("Seed of the split", str(inputs.funnel.seed)),
        ("Device", markdown(_device(training), 200)),
        ("Time", f"{training.seconds:,.1f} s, {training.tokens_per_second:,.0f} tokens per second"),
    ]
    if record.cost_usd is not None:
        rows.append(("Cost", f"${record.cost_usd:,.4f}, from fetching the posts to evaluating the model"))
    if record.energy:
        rows.append(("Energy", _energy(record.energy)))
    if inputs.usd_per_1000_answers is not None:
        rows.append(("Serving", f"about ${inputs.usd_per_1000_answers:,.4f} per 1,000 answers, on a fully used node"))
    return rows


def _adapter(inputs: CardInputs) -> str:
    """Return what the model is where it is an adapter: "rank 16, 9.8 MB, beside the base model's weights with the digest …"."""
    digest = code(inputs.training.base_model.digest)
    return f"rank {inputs.training.adapter_rank}, {inputs.adapter_bytes / 1e6:,.1f} MB, beside the base model's weights with the digest {digest}"


def _device(training: TrainingRecord) -> str:
    """Return on what the model was trained: "2 x NVIDIA H200 (CUDA 13.0, sm_90), bf16"; torch's type where no name is recorded."""
    several = f"{training.processes} x " if training.processes > 1 else ""
    kernels = f" ({training.kernels})" if training.kernels else ""
    return f"{several}{training.device_name or training.device}{kernels}, {training.precision}"


def _energy(energy: Energy) -> str:
    nodes = ", ".join(f"{kind} at {number(watts)} W" for kind, watts in energy.nodes)
    return markdown(
        f"about {energy.watt_hours:.2g} Wh, {energy.grams:.2g} g CO2e, estimated from {energy.seconds:,.0f} s on nodes of the kind "
        f"{nodes}, and {number(energy.grams_per_kwh)} g per kWh of the grid"
    )


def earlier_model(continual: ContinueRecord) -> str:
    """Return the name, in Markdown, of the model that training continued from."""
    return markdown(continual.parent) if isinstance(continual.parent, str) else f"version {continual.parent}"


def _unchanged(inputs: CardInputs) -> str:
    """Return a paragraph for weights that are the earlier version's: what they learnt from, and what was tried."""
    training, continual = inputs.training, inputs.training.continual
    assert continual
    earlier, loss = earlier_model(continual), continual.loss
    authors = ", ".join(markdown(f"@{author}") for author in continual.authors)
    known = f"{training.posts:,} posts{f' by {authors}' if authors else ''}"
    return (
        f"The weights are those of {earlier}, unchanged: they learnt from its {known}, and from none of the "
        f"{continual.new_posts:,} new posts. Continuing from it was tried and brought nothing: it has a held-out loss of "
        f"{number(loss[CONTINUE])} on {continual.held_out_posts:,} posts that it was not trained on, no epoch had a lower one, and starting "
        f"over gave {number(loss[START_OVER])}. The settings and losses here are of that attempt, whose weights were dropped."
    )


def _continual(continual: ContinueRecord) -> str:
    """Return a paragraph on continued training: which candidate was chosen, and both losses."""
    ways = ["continuing from " + earlier_model(continual), "starting over"]
    losses = [number(continual.loss[CONTINUE]), number(continual.loss[START_OVER])]
    if not continual.has_continued:
        ways, losses = ways[::-1], losses[::-1]
    posts = f"{continual.new_posts:,} new posts and {continual.replayed_posts:,} old ones"
    return (
        f"It is the result of {ways[0]}, with a held-out loss of {losses[0]}; {ways[1]} gave {losses[1]}, "
        f"on {continual.held_out_posts:,} posts that neither was trained on. "
        f"Continuing used {posts}, starting over used all posts."
    )
