"""The card's section on training: the base model, the recipe, what it took, and the loss after each epoch."""

from components.card.escape import code, markdown
from components.card.facts import Continual, Facts
from components.card.tables import number, table
from components.energy import Energy


def training(facts: Facts) -> str:
    """The section."""
    made = facts.training
    went_on = made.continual is not None and made.continual.was_chosen
    first = "the earlier version" if went_on else "the base model"
    losses = [
        [f"{epoch}{' (kept)' if epoch == made.best_epoch else ''}", number(ours), number(held)]
        for epoch, ours, held in made.history
    ]
    return "\n".join(
        [
            "## Training procedure",
            "",
            table(["Setting", "Value"], _settings(facts), ":--"),
            "",
            *([_continual(made.continual), ""] if made.continual else []),
            f"Loss after each epoch, in nats per token; epoch 0 is {first} before any training:",
            "",
            table(["Epoch", "Training loss", "Held-out loss"], losses),
            "",
            "To make it again:",
            "",
            f"- data: {code(made.data_digest)}",
            f"- base model: {code(made.base_digest)}",
            *(f"- {markdown(package)} {code(version)}" for package, version in made.versions),
        ]
    )


def _settings(facts: Facts) -> list[tuple[str, str]]:
    made, record = facts.training, facts.record
    rows = [
        ("Base model", markdown(made.base)),
        *((markdown(key.replace("_", " ").capitalize()), markdown(value, 200)) for key, value in made.recipe if value != "{}"),
        ("Posts", f"{made.posts:,}"),
        ("Tokens", f"{made.tokens:,}"),
        ("Steps", f"{made.steps:,}"),
        ("Seed of the split", str(facts.seed)),
        ("Device", markdown(f"{made.device}, {made.precision}")),
        ("Time", f"{made.seconds:,.1f} s, {made.tokens_per_second:,.0f} tokens per second"),
    ]
    if record.cost_usd is not None:
        rows.append(("Cost", f"${record.cost_usd:,.4f}, from fetching the posts to evaluating the model"))
    if record.energy:
        rows.append(("Energy", _energy(record.energy)))
    if facts.usd_per_1000_answers is not None:
        rows.append(("Serving", f"about ${facts.usd_per_1000_answers:,.4f} per 1,000 answers, on a node that is busy with them"))
    return rows


def _energy(energy: Energy) -> str:
    nodes = ", ".join(f"{kind} at {number(watts)} W" for kind, watts in energy.nodes)
    return markdown(
        f"about {energy.watt_hours:.2g} Wh, {energy.grams:.2g} g CO2e, estimated from {energy.seconds:,.0f} s on nodes of the kind "
        f"{nodes}, and {number(energy.grams_per_kwh)} g per kWh of the grid"
    )


def _continual(found: Continual) -> str:
    """Which way it came about, and what the other would have given."""
    ways = ["going on from " + markdown(found.earlier), "starting over"]
    losses = [number(found.loss), number(found.loss_of_starting_over)]
    if not found.was_chosen:
        ways, losses = ways[::-1], losses[::-1]
    posts = f"{found.new:,} new posts and {found.replayed:,} old ones"
    return (
        f"It came of {ways[0]}, which gave a held-out loss of {losses[0]}, where {ways[1]} gave {losses[1]}, on {found.held_out:,} posts "
        f"that neither was trained on. Going on learnt from {posts}, starting over from all."
    )
