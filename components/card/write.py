"""The model card in Markdown: the sections of huggingtweets' cards, and what they left open."""

from components.card.escape import code, markdown
from components.card.facts import Author, Facts, Source
from components.card.front import front_matter
from components.card.made import training
from components.card.measured import results
from components.card.tables import table
from components.card.usage import about, how_to_use, limits, removal

SAMPLES = 5  # that are shown
LONGEST_SAMPLE = 1000  # characters; a post is shorter


def write(facts: Facts) -> str:
    """The whole README.md: YAML front matter that the Hugging Face hub reads, then the card."""
    sections = (title, how_it_was_made, training_data, training, results, samples, how_to_use, limits, removal, about)
    return "\n\n".join([front_matter(facts), *(section(facts) for section in sections)]) + "\n"


def title(facts: Facts) -> str:
    """The head of the card: the bot, its picture, and the people it writes like with theirs."""
    people = [_person(number, author) for number, author in enumerate(facts.authors, 1)]
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


def avatar_file(number: int) -> str:
    """The picture of the author of that number, counted from 1, in a card's folder."""
    return f"avatar-{number}.png"


def how_it_was_made(facts: Facts) -> str:
    """The pipeline as a picture, in words, and where it is recorded."""
    return f"""\
## How it was made

![From posts to a bot: fetch, filter, fine-tune, evaluate, card, register, promote, serve](pipeline.png)

The posts were fetched and filtered by the {code(facts.rules)} rules, a small GPT-2 was fine-tuned on the ones that were kept,
and the result was judged on posts that it had never seen, and on what it writes.{_recorded(facts)}"""


def training_data(facts: Facts) -> str:
    """Huggingtweets' data table with a column per author, and where the posts came from."""
    header = ["Data", *(markdown(author.shown) for author in facts.authors)]
    rows = [[markdown(label), *(f"{number:,}" for number in numbers)] for label, numbers in facts.funnel]
    canaries = facts.training.canaries
    planted = (
        f" {canaries:,} made-up strings were planted among those to train on, to measure what it remembers." if canaries else ""
    )
    return "\n".join(
        [
            "## Training data",
            "",
            table(header, rows),
            "",
            "![The same as bars: of the tweets downloaded, how many were dropped for which reason, and how many kept](funnel.png)",
            "",
            f"Of the tweets kept, {facts.train:,} were trained on and {facts.held_out:,} held out, drawn with seed {facts.seed}.{planted}",
            "",
            "Where they came from, and by what right they are used:",
            "",
            *(_provenance(source) for source in facts.sources),
            "",
            "The posts belong to their authors; the weights derive from them, and so carry no licence of their own.",
            *_explore(facts),
        ]
    )


def samples(facts: Facts) -> str:
    """What the model writes, unselected."""
    head = f"for the prompt “{markdown(facts.prompt, LONGEST_SAMPLE)}”" if facts.prompt else "without a prompt"
    texts = [f"1. {markdown(text, LONGEST_SAMPLE) or '(nothing)'}" for text in facts.samples[:SAMPLES]]
    listed = "\n".join(texts) or "(none)"
    share = "[predictions.html](predictions.html) is a page that shows one of them, to share."
    return f"## Samples\n\nThe first samples {head}, not picked by anybody:\n\n{listed}\n\n{share}"


def _person(number: int, author: Author) -> str:
    picture = f'<img src="{avatar_file(number)}" width="64" height="64" align="middle" alt="">&nbsp; ' if author.avatar else ""
    return f"- {picture}**{markdown(author.shown)}**{_bio(author.bio)}"


def _bio(bio: str) -> str:
    shown = markdown(bio, 300)
    return f": “{shown}”" if shown else ""


def _recorded(facts: Facts) -> str:
    """The run in MLflow: its id, and its page where there is one that people can open."""
    if not facts.record.run:
        return ""
    name = code(facts.record.run)
    page = facts.record.pages.get("")
    return f"\n\nMLflow has every step of it as run {f'[{name}]({page})' if page else name}."


def _explore(facts: Facts) -> list[str]:
    pages = facts.record.pages
    links = [
        *([f"[the texts]({pages['filter']}/artifacts)"] if "filter" in pages else []),
        *([f"[the training run]({pages['finetune']})"] if "finetune" in pages else []),
        *([f"[the evaluation]({pages['evaluate']}/artifacts)"] if "evaluate" in pages else []),
    ]
    return ["", f"For who may see them, MLflow keeps {', '.join(links)}."] if links else []


def _provenance(source: Source) -> str:
    dates = f", from {markdown(source.first)} to {markdown(source.last)}" if source.first and source.last else ""
    kind, author = markdown(source.kind), markdown("@" + source.author, 64)
    basis = markdown(source.basis, 300) or "not stated"
    origin, digest = code(source.source, 200), code(source.sha256)
    return f"- {origin} ({kind}): {source.posts:,} posts by {author}{dates}. Basis: {basis}. SHA-256: {digest}"
