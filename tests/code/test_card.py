"""The card step: what it shows, what it refuses, and that nothing an author wrote is more than words in it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from components.card import card
from components.card.escape import JOINER, clean, code, markdown
from components.card.facts import read_facts
from components.card.write import write
from components.errors import InputError
from tests.code.card_inputs import CardInputs, column, metrics, samples, source, training, verdict

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
FAST = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


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


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A card of ordinary inputs."""
    card("wren", *CardInputs().write(tmp_path), tmp_path / "out")
    return tmp_path / "out"


def written(root: Path, inputs: CardInputs) -> str:
    return write(read_facts("wren", *inputs.write(root)))


# Escaping


def check_is_only_words(text: str) -> None:
    """Where a card may put it, `text` adds no token, no HTML, and nothing that a site makes a link, a mention or a formula of."""
    escaped = markdown(text)
    for before, after in (
        ("", ""),
        ("x ", " x"),
        ("- ", ""),
        ("1. ", ""),
        ("“", "”"),
        ("[", "](x)"),
        ("| h |\n| :-- |\n| ", " |"),
    ):
        assert shape(before + (escaped or "x") + after) == shape(f"{before}x{after}")
    if clean(text):
        assert words(escaped) == clean(text)
    assert not re.search(r"[<>]|&(?!#\d+;)", escaped)
    seen = "".join(token.content for token in tokens(escaped) if token.type == "text")
    assert not re.search(r"://|www\.\w|[@#]\w|\$\$|\\[(\[]|\w\.[^\W\d]|:[\w+-]+:", seen)


@pytest.mark.parametrize("piece", PIECES)
def test_escaped_markup_is_only_words(piece: str) -> None:
    for text in (piece, f"{piece}x", f"x{piece}", f"x {piece} y", piece * 2):
        check_is_only_words(text)


@FAST
@given(HOSTILE)
def test_escaped_text_is_only_words(text: str) -> None:
    check_is_only_words(text)


@FAST
@given(HOSTILE)
def test_code_is_one_code_span(text: str) -> None:
    assert shape(f"- a: {code(text)} b") == shape("- a: `x` b")
    if clean(text):
        assert words(f"a {code(text)}") == f"a {clean(text)}"


@pytest.mark.parametrize(
    "place", [*range(0x20), 0x7F, 0x85, 0x61C, 0x200B, 0x202A, 0x202E, 0x2028, 0x2066, 0x2069, 0xFEFF, 0xD800, 0xE0041]
)
def test_unseen_characters_are_left_out(place: int) -> None:
    cleaned = clean(f"a{chr(place)}b")
    assert cleaned in ("ab", "a b")
    assert chr(place) not in cleaned or place == 0x20


@FAST
@given(HOSTILE, st.integers(1, 40))
def test_clean_text_is_clean_short_enough_and_writable(text: str, limit: int) -> None:
    assert clean(clean(text)) == clean(text)
    assert len(clean(text, limit)) <= limit
    clean(text).encode("utf-8")


def test_ordinary_text_stays_readable_in_the_source() -> None:
    assert markdown("It's 3.5 o'clock, isn't it? (Yes - I think so!)") == "It's 3.5 o'clock, isn't it? (Yes - I think so!)"
    assert markdown("0.0005") == "0.0005"
    joined = "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627 \U0001f469\u200d\U0001f467"
    assert clean(joined) == joined  # Persian and emoji need their joiners


# The card


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=8, max_size=8))
def test_a_hostile_author_changes_words_only(tmp_path: Path, texts: list[str]) -> None:
    inputs, plain = hostile(texts), hostile(["x"] * 8)
    theirs, ordinary = written(tmp_path / "a", inputs), written(tmp_path / "b", plain)
    assert shape(theirs) == shape(ordinary)
    assert theirs.split("\n---\n")[0] == ordinary.split("\n---\n")[0]


def hostile(texts: list[str]) -> CardInputs:
    name, bio, sample, handle, origin, basis, reason, base = (text if clean(text) else "x" for text in texts)
    author = f"a{handle}"
    failed = verdict(passed=False)
    failed["checks"][0]["reason"] = reason
    return CardInputs(
        sources=[
            source(author, display_name=f"b{name}", bio=bio, source=origin, basis=basis, kind=origin, first=basis, last=basis)
        ],
        funnel={"rules": "default", "authors": [column(author)], "train": 1, "held_out": 1, "seed": 1},
        training=training(base_model={"name": f"/{base}", "digest": base}, recipe={"preset": reason}),
        verdict=failed,
        samples=samples(*[sample] * 5),
    )


def test_author_texts_survive(tmp_path: Path) -> None:
    inputs = CardInputs(
        sources=[source("wren_groundling", display_name="Wren | *the* <Bird>", bio="See https://a.example & me@b.example")],
        samples=samples("My dream is\n# to [sing](x) `loud`"),
    )
    seen = words(written(tmp_path, inputs))
    assert "Wren | *the* <Bird> (@wren_groundling)" in seen
    assert "See https://a.example & me@b.example" in seen
    assert "My dream is # to [sing](x) `loud`" in seen


def test_the_front_matter_is_what_the_hub_reads(made: Path) -> None:
    from huggingface_hub import ModelCard

    data = ModelCard((made / "README.md").read_text("utf-8")).data.to_dict()
    assert data == {
        "language": "en",
        "license": "other",
        "license_name": "derived-from-its-authors-posts",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["mynah", "gpt2", "text-generation"],
        "widget": [{"text": "My dream is"}],
    }


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ({"name": "openai-community/gpt2"}, True),
        ({"name": "gpt2"}, True),
        ({"name": "gpt2", "revision": "607a30d"}, True),
        ({"name": "gpt2", "revision": ""}, False),  # a folder that is called gpt2
        ({"name": "fledgling"}, False),
        ({"name": "./models/gpt2"}, False),
        ({"name": "/models/gpt2"}, False),
        ({"name": "a\n---\nlicense: mit"}, False),
    ],
)
def test_the_base_model_is_named_when_it_is_on_the_hub(tmp_path: Path, base: dict[str, str], named: bool) -> None:
    from huggingface_hub import ModelCard

    text = written(tmp_path, CardInputs(training=training(base_model=base | {"digest": "00"})))
    assert ModelCard(text).data.base_model == (base["name"] if named else None)


def test_the_data_table_has_huggingtweets_rows_and_adds_up(tmp_path: Path) -> None:
    inputs = CardInputs(sources=[source("wren"), source("bo", display_name="Bo")])
    inputs.funnel["authors"] = [column("wren"), column("bo", 1300, retweet=5, near_duplicate=7)]
    text = written(tmp_path, inputs)
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")][:8]
    assert [re.sub(JOINER, "", cell) for cell in table[0]] == ["Data", "Wren Groundling (@wren)", "Bo (@bo)"]
    assert [row[0] for row in table[2:]] == [
        "Tweets downloaded",
        "Retweets",
        "Short tweets",
        "Duplicates",
        "Near duplicate",
        "Tweets kept",
    ]
    for place in (1, 2):
        downloaded, *dropped, kept = (int(row[place].replace(",", "")) for row in table[2:])
        assert downloaded == sum(dropped) + kept


def test_the_card_holds_what_a_reader_looks_for(made: Path) -> None:
    text = (made / "README.md").read_text("utf-8")
    assert "![A sample of what wren writes](predictions.png)" in text
    assert "| Learning rate | 0.0005 |" in text
    assert "| 0 | n/a | 5.2 |" in text
    assert "| 2 (kept) | 4.05 | 4.01 |" in text
    assert "| Held-out loss, nats per token (lower is better) | 4.01 | 5.2 |" in text
    assert "from 2019-04-01 to 2023-06-30. Basis: own posts." in text
    assert "It **passed** the gate." in text
    assert [f"1. My dream is to sing number {place}." in text for place in range(1, 6)] == [True] * 5
    assert "/v2/models/wren/infer" in text
    assert "ask the person who made it" in text
    assert str(made.parent) not in text


def test_the_request_in_the_card_is_valid_json(made: Path) -> None:
    body = re.search(r"-d '(.*)'", (made / "README.md").read_text("utf-8"))
    assert body
    request = json.loads(body[1])
    assert request["inputs"] == [{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["My dream is"]}]
    assert request["parameters"] == {"n": 5}


def test_a_failed_verdict_is_said_plainly(tmp_path: Path) -> None:
    text = written(tmp_path, CardInputs(verdict=verdict(passed=False)))
    assert "It **did not pass** the gate." in text
    assert "| loss gain | 0.05 | at least 0.1 | **failed** | the loss fell too little |" in text


def test_what_is_unknown_is_left_open(tmp_path: Path) -> None:
    nameless = source("wren_groundling", display_name=None, bio=None, first=None, last=None, basis="")
    inputs = CardInputs(sources=[nameless], metrics=metrics(perplexity=None), samples=[], verdict={"passed": False, "checks": []})
    text = written(tmp_path, inputs).replace(JOINER, "")
    assert "- @wren&#95;groundling\n" in text
    assert "1,700 posts by @wren&#95;groundling. Basis: not stated." in text
    assert "| Perplexity per token (lower is better) | n/a | n/a |" in text
    assert "(none)" in text


def test_another_prompt_stands_in_where_the_usual_was_not_asked(tmp_path: Path) -> None:
    text = written(tmp_path, CardInputs(samples=samples("Birds sing.", prompt="Birds")))
    assert "The first samples for the prompt “Birds”" in text
    assert "1. Birds sing." in text


# What it refuses


@pytest.mark.parametrize("name", ["sources", "funnel", "training", "metrics", "verdict", "samples"])
@pytest.mark.parametrize("content", [None, "{", "3", '{"passed": []}', "[[]]", "null"])
def test_a_missing_or_misshapen_file_is_named(tmp_path: Path, name: str, content: str | None) -> None:
    folders = CardInputs().write(tmp_path)
    path = next(tmp_path.glob(f"*/{name}.json"))
    path.unlink()
    if content:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"{name}\.json"):
        card("wren", *folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "key"),
    [
        (CardInputs(training=training(history={})), "history"),
        (CardInputs(training=training(tokens="many")), "tokens"),
        (CardInputs(training=training(steps=-1)), "steps"),
        (CardInputs(training=training(seconds=True)), "seconds"),
        (CardInputs(training=training(base_model={"name": "gpt2"})), "base_model.digest"),
        (CardInputs(metrics=metrics(held_out_loss=float("nan"))), "held_out_loss"),
        (CardInputs(metrics=metrics(perplexity=10**400)), "perplexity"),
        (CardInputs(metrics={}), "held_out_loss"),
        (CardInputs(verdict={"passed": 1, "checks": []}), "passed"),
        (CardInputs(verdict={"passed": True, "checks": [{}]}), "checks[0].metric"),
        (CardInputs(samples=[{"prompt": "a", "texts": [3]}]), "[0].texts[0]"),
        (CardInputs(sources=[source("a") | {"author": None, "posts": 1.5}]), "[0].posts"),
        (CardInputs(funnel={"authors": []}), "authors"),
        (CardInputs(funnel={"authors": [column("a") | {"kept": 7}]}), "authors[0]"),
        (CardInputs(funnel={"authors": [column("a") | {"dropped": [1]}]}), "authors[0].dropped"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(tmp_path: Path, inputs: CardInputs, key: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{key}'")):
        card("wren", *inputs.write(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_bot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bot's name"):
        card("Wren`](x)", *CardInputs().write(tmp_path), tmp_path / "out")


def test_importing_the_step_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "mlflow", "kfp", "huggingface_hub", "PIL")
    program = f"import sys, components.card; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"
