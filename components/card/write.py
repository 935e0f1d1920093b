"""The model card in Markdown, in the format of huggingtweets' cards."""

from collections.abc import Iterable, Sequence

from components.card.escape import code, markdown
from components.card.facts import PROMPT, Check, Continual, Facts, Source, Training
from components.finetune.base_model import FLEDGLING, HUB_NAME

UNKNOWN = "n/a"
LONGEST_SAMPLE = 1000  # characters; a post is shorter


def write(facts: Facts) -> str:
    """The whole README.md: YAML front matter that the Hugging Face hub reads, then the card."""
    sections = (title, how_it_was_made, training_data, training, results, samples, how_to_use, limits, removal, about)
    return "\n\n".join([front_matter(facts), *(section(facts) for section in sections)]) + "\n"


def front_matter(facts: Facts) -> str:
    """The card's metadata between `---` lines; nothing of an author's is in it."""
    from huggingface_hub import ModelCardData

    metadata = ModelCardData(
        language="en",
        license="other",  # the weights derive from posts that belong to their authors: no licence of Mynah's can cover them
        license_name="derived-from-its-authors-posts",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["mynah", "gpt2", "text-generation"],
        base_model=facts.training.base if on_the_hub(facts.training) else None,
        widget=[{"text": PROMPT}],
    )
    return f"---\n{metadata.to_yaml()}\n---"


def on_the_hub(made: Training) -> bool:
    """Whether the base model's name is a hub id (`gpt2`, `openai-community/gpt2`), and neither ours nor a folder's."""
    return made.base != FLEDGLING and not made.base_is_folder and HUB_NAME.fullmatch(made.base) is not None


def title(facts: Facts) -> str:
    """The head of the card: the bot, its picture and the people it writes like."""
    people = [f"- {markdown(author.shown)}{_bio(author.bio)}" for author in facts.authors]
    return "\n".join(
        [
            f"# {facts.name}",
            "",
            f"![A sample of what {facts.name} writes](predictions.png)",
            "",
            "A bot that writes like:",
            "",
            *people,
            "",
            "What it writes is made up by a language model. Nobody said it.",
        ]
    )


def how_it_was_made(facts: Facts) -> str:
    """The pipeline as a line of text."""
    return f"""\
## How it was made

```text
fetch > filter > fine-tune > evaluate > card > register > promote > serve
```

The posts were fetched and filtered by the {code(facts.rules)} rules, a small GPT-2 was fine-tuned on the ones that were kept,
and the result was judged on posts that it had never seen."""


def training_data(facts: Facts) -> str:
    """Huggingtweets' data table with a column per author, and where the posts came from."""
    header = ["Data", *(markdown(author.shown) for author in facts.authors)]
    rows = [[markdown(label), *(f"{number:,}" for number in numbers)] for label, numbers in facts.funnel]
    return "\n".join(
        [
            "## Training data",
            "",
            _table(header, rows),
            "",
            f"Of the tweets kept, {facts.train:,} were trained on and {facts.held_out:,} held out, drawn with seed {facts.seed}.",
            "",
            "Where they came from:",
            "",
            *(_provenance(source) for source in facts.sources),
            "",
            "The posts belong to their authors; the weights derive from them, and so carry no licence of their own.",
        ]
    )


def training(facts: Facts) -> str:
    """The base model, the recipe, what it cost, and the loss after each epoch."""
    made = facts.training
    rows = [
        ("Base model", markdown(made.base)),
        *((markdown(key.replace("_", " ").capitalize()), markdown(value, 200)) for key, value in made.recipe),
        ("Posts", f"{made.posts:,}"),
        ("Tokens", f"{made.tokens:,}"),
        ("Steps", f"{made.steps:,}"),
        ("Seed of the split", str(facts.seed)),
        ("Device", markdown(f"{made.device}, {made.precision}")),
        ("Time", f"{made.seconds:,.1f} s, {made.tokens_per_second:,.0f} tokens per second"),
    ]
    if facts.cost_usd is not None:
        rows.append(("Cost", f"${facts.cost_usd:,.4f}, from fetching the posts to evaluating the model"))
    if facts.usd_per_1000_answers is not None:
        rows.append(("Serving", f"about ${facts.usd_per_1000_answers:,.4f} per 1,000 answers, on a node that is busy with them"))
    went_on = made.continual is not None and made.continual.was_chosen
    first = "the earlier version" if went_on else "the base model"
    losses = [
        [f"{epoch}{' (kept)' if epoch == made.best_epoch else ''}", _number(ours), _number(held)]
        for epoch, ours, held in made.history
    ]
    return "\n".join(
        [
            "## Training procedure",
            "",
            _table(["Setting", "Value"], rows),
            "",
            *([_continual(made.continual), ""] if made.continual else []),
            f"Loss after each epoch, in nats per token; epoch 0 is {first} before any training:",
            "",
            _table(["Epoch", "Training loss", "Held-out loss"], losses),
            "",
            "To make it again:",
            "",
            f"- data: {code(made.data_digest)}",
            f"- base model: {code(made.base_digest)}",
            *(f"- {markdown(package)} {code(version)}" for package, version in made.versions),
        ]
    )


def results(facts: Facts) -> str:
    """What evaluation measured against the base model, and the verdict with each of its checks."""
    metrics = {name: _number(value) for name, value in facts.metrics.items()}
    rows = [
        ("Held-out loss, nats per token (lower is better)", metrics["held_out_loss"], metrics["base_held_out_loss"]),
        ("Bits per character (lower is better)", metrics["bits_per_character"], metrics["base_bits_per_character"]),
        ("Perplexity per token (lower is better)", metrics["perplexity"], metrics["base_perplexity"]),
        ("Distinct words among all words of the samples", metrics["distinct_1"], UNKNOWN),
        ("Distinct word pairs among all word pairs of the samples", metrics["distinct_2"], UNKNOWN),
        ("Samples with 8 words or more of a training post, word for word (share)", metrics["memorised_share"], UNKNOWN),
    ]
    checks = [_check(check) for check in facts.checks]
    verdict = "It **passed** the gate." if facts.passed else "It **did not pass** the gate."
    return "\n".join(
        [
            "## Evaluation results",
            "",
            _table(["Metric", "This model", "Base model"], rows),
            "",
            f"The sample metrics are over {metrics['samples']} samples.",
            "",
            f"{verdict} The checks:" if checks else verdict,
            *(["", _table(["Check", "Value", "Needed", "Result", "Reason"], checks, ":--")] if checks else []),
        ]
    )


def samples(facts: Facts) -> str:
    """What the model writes, unselected."""
    head = (
        f"## Samples\n\nThe first samples for the prompt “{markdown(facts.prompt, LONGEST_SAMPLE)}”, not picked by anybody:\n\n"
    )
    if not facts.prompt:
        head = "## Samples\n\nThe first samples without a prompt, not picked by anybody:\n\n"
    texts = [f"1. {markdown(text, LONGEST_SAMPLE) or '(nothing)'}" for text in facts.samples]
    return head + ("\n".join(texts) or "(none)")


def how_to_use(facts: Facts) -> str:
    """A snippet for transformers and a request for KServe's second protocol."""
    return f"""\
## How to use

With [transformers](https://huggingface.co/docs/transformers), from the folder that holds the weights:

```python
from transformers import pipeline

generator = pipeline("text-generation", model="path/to/{facts.name}")
for sample in generator("{PROMPT}", num_return_sequences=5):
    print(sample["generated_text"])
```

Where it is served, by KServe's Open Inference Protocol:

```bash
curl http://localhost:8080/v2/models/{facts.name}/infer \\
  -H 'Content-Type: application/json' \\
  -d '{{"inputs": [{{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["{PROMPT}"]}}], "parameters": {{"n": 5}}}}'
```"""


def limits(facts: Facts) -> str:
    """What not to expect of it, and what not to do with it."""
    return """\
## Limits and bias

- It imitates a manner of writing. It knows no facts, and what it claims about people, places or events is invented.
- It has [the limits and bias of GPT-2](https://huggingface.co/gpt2#limitations-and-bias) where GPT-2 is its base model, and
  always those of its author's posts, which further shape what it writes: it can be rude, unfair or wrong.
- It was trained on few posts, so it can repeat one of them, or a part of one, word for word; the results say how often it did.
- Don't pass off what it writes as the words of a person, and don't use it to decide anything about anybody."""


def removal(facts: Facts) -> str:
    """How a person gets out of it."""
    return """\
## How to have it removed

If these are your posts and you don't want this bot, ask the person who made it to take it down. For them it is one command,
`mynah forget @HANDLE`: the posts, the weights, this card and every record of them go from every store, nothing of yours is fetched
again, and they can give you the signed receipt. Copies that others took are beyond that person's reach."""


def about(facts: Facts) -> str:
    """Whose work this carries on."""
    return """\
## About

Made with Mynah, which carries on [huggingtweets](https://github.com/borisdayma/huggingtweets) by Boris Dayma; this card follows
the format of its cards."""


def _continual(found: Continual) -> str:
    """Which way it came about, and what the other would have given."""
    ways = ["going on from " + markdown(found.earlier), "starting over"]
    losses = [_number(found.loss), _number(found.loss_of_starting_over)]
    if not found.was_chosen:
        ways, losses = ways[::-1], losses[::-1]
    posts = f"{found.new:,} new posts and {found.replayed:,} old ones"
    return (
        f"It came of {ways[0]}, which gave a held-out loss of {losses[0]}, where {ways[1]} gave {losses[1]}, on {found.held_out:,} posts "
        f"that neither was trained on. Going on learnt from {posts}, starting over from all."
    )


def _bio(bio: str) -> str:
    shown = markdown(bio, 300)
    return f": “{shown}”" if shown else ""


def _provenance(source: Source) -> str:
    dates = f", from {markdown(source.first)} to {markdown(source.last)}" if source.first and source.last else ""
    kind, author = markdown(source.kind), markdown("@" + source.author, 64)
    basis = markdown(source.basis, 300) or "not stated"
    origin, digest = code(source.source, 200), code(source.sha256)
    return f"- {origin} ({kind}): {source.posts:,} posts by {author}{dates}. Basis: {basis}. SHA-256: {digest}"


def _check(check: Check) -> list[str]:
    needed = f"{'at least' if check.at_least else 'at most'} {_number(check.limit)}"
    result = "passed" if check.passed else "**failed**"
    return [markdown(check.metric.replace("_", " ")), _number(check.value), needed, result, markdown(check.reason, 500)]


def _number(value: float | None) -> str:
    """Four significant digits, thousands apart; `n/a` for what was not measured."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "--:") -> str:
    """A GFM table: the first column to the left, the others as `align` says; the cells are escaped already."""
    line = [":--", *(align for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, line, *rows))
