"""What the tests of the card share: hostile text, and the card's Markdown taken apart."""

from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from components.card.read_inputs import read_inputs
from components.card.readme import write
from mynah.data.markdown import JOINER
from tests.code.card_inputs import CardInputFiles

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# Pieces of markup, whole and broken, that random text seldom hits.
PIECES = (
    *(
        "# ",
        "**",
        "__",
        "~~",
        "`",
        "```",
        "~~~",
        "---",
        "===",
        "- ",
        "1. ",
        "1) ",
        "+ ",
        "> ",
        "    x",
        "|",
        "\\",
        "!",
        "[",
        "]",
        "(",
        ")",
    ),
    *(
        "*",
        "_",
        ":",
        "\t",
        "\n",
        "\n\n",
        "\r",
        "[a](b)",
        "![a](b)",
        "[a]: b",
        "<b>",
        "</td>",
        "<!--",
        "-->",
        "<script>",
        "{{x}}",
        "{%x%}",
    ),
    *(
        "&lt;",
        "&#64;",
        "&amp;",
        "$$x$$",
        "\\(x\\)",
        "@name",
        "#12",
        ":octocat:",
        "http://a.example",
        "<http://a.example>",
        "ftp://x",
    ),
    *(
        "www.a.example",
        "a@b.example",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x1b[31m",
        "\ud800",
        "\u0639",
        "\u05d0",
        "\U000e0041",
    ),
    *("*x*", "__x__", "~~x~~", "`x`", "<http://a.example>", "[x]", "x\n==="),
)
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=10).map("".join)
FAST = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def tokens(text: str) -> list[Token]:
    """Block and inline tokens in one list."""
    return [inner for token in PARSER.parse(text) for inner in (token, *(token.children or []))]


def shape(text: str) -> list[tuple[str, str]]:
    """What kinds of tokens a Markdown text has, in order, without the words in them."""
    return [(token.type, token.tag) for token in tokens(text) if token.type != "text"]


def words(text: str) -> str:
    """The words a reader sees, without the invisible joiners."""
    seen = "".join(token.content for token in tokens(text) if token.type in ("text", "code_inline"))
    return seen.replace(JOINER, "")


def written(root: Path, inputs: CardInputFiles) -> str:
    return write(read_inputs("wren", *inputs.write(root)))


def table(text: str, first: str, number: int = 0) -> list[list[str]]:
    """The rows of the table of that number whose head begins with `first`, without the line below the head."""
    found = [block for block in text.split("\n\n") if block.startswith(f"| {first} |")][number]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    return rows[:1] + rows[2:]
