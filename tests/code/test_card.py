"""The card step: what it shows, what it refuses, and that nothing an author wrote is more than words in it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image, PngImagePlugin

from components.card import card
from components.card.escape import JOINER, clean, code, markdown
from components.card.facts import Record
from components.card.front import readdressed
from components.card.preview import read_preview
from components.card.reading import read_facts
from components.card.write import write
from components.energy import POWER_FILE, estimate
from components.errors import InputError
from components.evaluate.definitions import METRICS
from components.machine import prices
from components.verbatim import write_bloom
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card of ordinary inputs."""
    folder = tmp_path_factory.mktemp("made")
    card("wren", *CardInputs().write(folder), folder / "out")
    return folder / "out"


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


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=9, max_size=9))
def test_a_hostile_author_changes_words_only(tmp_path: Path, texts: list[str]) -> None:
    inputs, plain = hostile(texts), hostile(["x"] * 9)
    theirs, ordinary = written(tmp_path / "a", inputs), written(tmp_path / "b", plain)
    assert shape(theirs) == shape(ordinary)
    assert theirs.split("\n---\n")[0] == ordinary.split("\n---\n")[0]


def hostile(texts: list[str]) -> CardInputs:
    name, bio, sample, handle, origin, basis, reason, base, offender = (text if clean(text) else "x" for text in texts)
    author = f"a{handle}"
    failed = verdict(passed=False)
    failed["checks"][0] |= {"reason": reason, "samples": [offender] * 2}
    failed["checks"].append(failed["checks"][0] | {"metric": f"m{offender}"})
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

    text = (made / "README.md").read_text("utf-8")
    data = ModelCard(text).data
    assert {key: value for key, value in data.to_dict().items() if key != "model-index"} == {
        "language": ["en"],
        "license": "other",
        "license_name": "derived-from-its-authors-posts",
        "library_name": "transformers",
        "metrics": ["loss", "perplexity", "bits_per_character"],
        "pipeline_tag": "text-generation",
        "tags": ["mynah", "gpt2", "text-generation"],
        "thumbnail": "predictions.png",
        "widget": [{"text": "My dream is"}],
    }
    results = {result.metric_type: (result.task_type, result.dataset_split, result.metric_value) for result in data.eval_results}
    held = ("text-generation", "held_out")
    assert results == {"loss": (*held, 4.01), "perplexity": (*held, 55.1), "bits_per_character": (*held, 1.9)}
    assert data.model_name == "wren"
    assert str(ModelCard(text)) == text  # nothing is lost on the way through the hub's library, and a key stands once


@pytest.mark.parametrize(
    ("said", "named"), [(["pt", "en", "pt"], ["pt", "en"]), (["", "fi"], ["fi"]), (["en\nlicense: mit", None, 3], None)]
)
def test_the_languages_are_those_that_the_filter_found(tmp_path: Path, said: list[object], named: list[str] | None) -> None:
    from huggingface_hub import ModelCard

    people = [f"bird{place}" for place in range(len(said))]
    inputs = CardInputs(sources=[source(person) for person in people])
    inputs.funnel["authors"] = [column(person) | {"language": code} for person, code in zip(people, said, strict=True)]
    data = ModelCard(write(read_facts("wren", *inputs.write(tmp_path)))).data
    assert data.to_dict().get("language") == named


def test_the_front_matter_tells_emissions_and_where_the_picture_is(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    record = Record("0a", {}, 0.5, estimate([("laptop", 3600.0)]))
    text = write(read_facts("wren", *CardInputs().write(tmp_path), record, "https://a.example/wren/"))
    data = ModelCard(text).data
    assert data["thumbnail"] == "https://a.example/wren/predictions.png"
    assert data["co2_eq_emissions"]["emissions"] == 14.4  # 30 W for an hour, 480 g a kilowatt-hour
    assert data["co2_eq_emissions"]["training_type"] == "fine-tuning"
    assert "| Energy | about 30 Wh, 14 g CO2e, estimated from 3,600 s on nodes of the kind laptop at 30 W" in text
    moved = readdressed(text, "https://b.example/page.html")
    assert moved == text.replace("a.example/wren/predictions", "b.example/predictions")


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
    assert "| Held-out loss (nats per token, lower is better) | 4.01 | 5.2 |  |  |" in text
    assert "from 2019-04-01 to 2023-06-30. Basis: own posts." in text
    assert "It **passed** the gate: all 1 checks. What it writes was judged by 50 samples." in text
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


def test_the_card_has_all_of_huggingtweets_sections_and_more(made: Path) -> None:
    headings = re.findall("^## (.*)$", (made / "README.md").read_text("utf-8"), re.MULTILINE)
    theirs = ["How it was made", "Training data", "Training procedure", "How to use", "Limits and bias", "About"]
    assert [heading for heading in headings if heading in theirs] == theirs
    assert set(headings) - set(theirs) == {"Evaluation results", "Samples", "How to have it removed"}


def test_everything_that_the_card_shows_lies_beside_it(tmp_path: Path) -> None:
    inputs = CardInputs(sources=[source("wren_groundling", avatar="avatar-7.png")])
    folders = inputs.write(tmp_path)
    Image.new("RGB", (90, 60), "red").save(folders[1] / "avatar-7.png", pnginfo=secret())
    card("wren", *folders, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    shown = set(re.findall(r"\]\(([a-z0-9.-]+)\)", text)) | set(re.findall(r'<img src="([^"]+)"', text))
    assert shown == {"predictions.png", "predictions.html", "pipeline.png", "funnel.png", "avatar-1.png"}
    there = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert there == shown | {"README.md", "card.json"}
    assert b"home" not in (tmp_path / "out" / "avatar-1.png").read_bytes()  # made anew: the card is published
    assert read_preview(tmp_path / "out").authors[0].avatar == tmp_path / "out" / "avatar-1.png"


def secret() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("where", "home")
    return info


@pytest.mark.parametrize("avatar", ["avatar-1.png", "../model/secret.png", "", None, 3])
def test_an_author_whose_picture_is_not_there_has_none(tmp_path: Path, avatar: object) -> None:
    folders = CardInputs(sources=[source("wren_groundling", avatar=avatar)]).write(tmp_path)
    (folders[0] / "secret.png").write_bytes(b"x")
    card("wren", *folders, tmp_path / "out")
    assert "<img" not in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert not list((tmp_path / "out").glob("avatar-*"))


def test_every_metric_stands_beside_the_other_models_and_the_gate(tmp_path: Path) -> None:
    everything = dict.fromkeys(METRICS, 0.25) | {
        "champion_bits_per_character": 2.0,
        "champion_gain": 0.5,
        "champion_posts": 9,
    }
    text = written(tmp_path, CardInputs(metrics=metrics(**everything), verdict=verdict()))
    rows = table(text, "Metric")
    assert rows[0] == ["Metric", "This model", "Base model", "Champion", "Needed", "Result"]
    named = {row[0].partition(" (")[0]: row[1:] for row in rows[1:]}
    beside = {"base_held_out_loss", "base_perplexity", "base_bits_per_character", "champion_held_out_loss"}
    columns = beside | {"champion_bits_per_character"}
    assert set(named) == {told.label for name, told in METRICS.items() if name not in columns}
    assert named["Bits per character"] == ["0.25", "0.25", "2", "", ""]
    assert named["Gain over the base model"] == ["0.25", "", "", "at least 0.1", "passed"]
    assert "on the 9 held-out posts that neither model was trained on; there this model takes 1.5 bits per character." in text
    assert {row[0] for row in table(text, "Metric", 1)[1:]} == {told.label for told in METRICS.values()}  # each has its formula


def table(text: str, first: str, number: int = 0) -> list[list[str]]:
    """The rows of the table of that number whose head begins with `first`, without the line below the head."""
    found = [block for block in text.split("\n\n") if block.startswith(f"| {first} |")][number]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    return rows[:1] + rows[2:]


def test_a_failed_verdict_is_said_plainly_with_what_offended(tmp_path: Path) -> None:
    failed = verdict(passed=False)
    failed["checks"][0]["samples"] = [f"<b>sample</b> {place}" for place in range(9)]
    failed["checks"].append(failed["checks"][0] | {"metric": "unheard_of", "samples": []})
    text = written(tmp_path, CardInputs(verdict=failed))
    assert "It **did not pass** the gate: Gain over the base model, unheard of." in text
    assert "| unheard of | 0.05 |  | at least 0.1 | **failed** |" in text
    said = "**Gain over the base model** is 0.05, and must be at least 0.1: the loss fell too little.\n\n"
    offenders = text.partition(said)[2].split("\n\n")[0].splitlines()
    assert offenders == [f"- &#60;b&#62;sample&#60;/b&#62; {place}" for place in range(5)]


def test_a_verdict_without_samples_is_read(tmp_path: Path) -> None:
    older = verdict(passed=False)
    del older["checks"][0]["samples"]
    assert "It **did not pass** the gate: Gain over the base model." in written(tmp_path, CardInputs(verdict=older))


def test_the_card_links_to_what_recorded_it(tmp_path: Path) -> None:
    pages = {name: f"https://m.example/#/experiments/1/runs/{name or '0a'}" for name in ("", "filter", "finetune", "evaluate")}
    folders = CardInputs().write(tmp_path)
    text = write(read_facts("wren", *folders, Record("0a", pages)))
    assert "as run [`0a`](https://m.example/#/experiments/1/runs/0a)." in text
    for link in (
        "[the texts](",
        "/runs/filter/artifacts)",
        "[the training run](",
        "/runs/finetune)",
        "/runs/evaluate/artifacts)",
    ):
        assert link in text
    text = write(read_facts("wren", *folders, Record("0a")))
    assert "as run `0a`." in text
    assert "MLflow keeps" not in text
    assert "MLflow" not in write(read_facts("wren", *folders)).partition("## Training data")[0]


def test_planted_strings_are_told(tmp_path: Path) -> None:
    assert "planted" not in written(tmp_path / "a", CardInputs())
    text = written(tmp_path / "b", CardInputs(training=training(canaries={"count": 4, "seed": 1})))
    assert "4 made-up strings were planted among those to train on" in text


def test_what_is_unknown_is_left_open(tmp_path: Path) -> None:
    nameless = source("wren_groundling", display_name=None, bio=None, first=None, last=None, basis="")
    inputs = CardInputs(sources=[nameless], metrics=metrics(perplexity=None), samples=[], verdict={"passed": False, "checks": []})
    text = written(tmp_path, inputs).replace(JOINER, "")
    assert "- **@wren&#95;groundling**\n" in text
    assert "1,700 posts by @wren&#95;groundling. Basis: not stated." in text
    assert "| Perplexity (choices per token, lower is better) | n/a |  |  |  |" in text
    assert "(none)" in text


def test_another_prompt_stands_in_where_the_usual_was_not_asked(tmp_path: Path) -> None:
    text = written(tmp_path, CardInputs(samples=samples("Birds sing.", prompt="Birds")))
    assert "The first samples for the prompt “Birds”" in text
    assert "1. Birds sing." in text


# The sample that is shown


def chosen_of(tmp_path: Path, texts: list[str], offending: list[str] | None = None, **options: int) -> int:
    failed = verdict(passed=False)
    failed["checks"][0]["samples"] = offending or []
    folders = CardInputs(samples=samples(*texts), verdict=failed).write(tmp_path)
    write_bloom(folders[0], ["the quick brown fox jumps over the lazy dog, and over the sleeping cat besides"])
    return card("wren", *folders, tmp_path / "out", **options).chosen


@pytest.mark.parametrize(
    ("texts", "offending", "first"),
    [
        (["My dream is big.", "My dream is small."], [], 1),
        (["", "My dream is", "My dream is small."], [], 3),  # it says no more than it was told
        (["My dream is big.", "My dream is small."], ["My dream is big."], 2),
        (["My dream is the quick brown fox jumps over the lazy dog, and over the sleeping cat", "My dream is small."], [], 2),
        (["My dream is @somebody", "My dream is a@b.example", "My dream is 555 0199 22", "My dream is small."], [], 4),
        (["", "My dream is big."], ["My dream is big."], 2),  # none is sound: the first that says something
        (["", " \n"], [], 1),
    ],
)
def test_the_first_sound_sample_is_shown(tmp_path: Path, texts: list[str], offending: list[str], first: int) -> None:
    assert chosen_of(tmp_path, texts, offending) == first


def test_another_sample_can_be_shown(tmp_path: Path) -> None:
    texts = [f"My dream is number {place}." for place in range(1, 31)]
    assert chosen_of(tmp_path, texts, choose=20) == 20  # the most that are kept
    assert "My dream is number 20." in (tmp_path / "out" / "predictions.html").read_text("utf-8")
    before = (tmp_path / "out" / "predictions.png").read_bytes()
    with pytest.raises(InputError, match="sample 21 was asked for, and there are 20"):
        chosen_of(tmp_path, texts, choose=21)
    assert (tmp_path / "out" / "predictions.png").read_bytes() == before
    assert chosen_of(tmp_path, texts) == 1
    assert (tmp_path / "out" / "predictions.png").read_bytes() != before
    with pytest.raises(InputError, match="there is none"):
        card("wren", *CardInputs(samples=[]).write(tmp_path / "b"), tmp_path / "none", choose=1)


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


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "https://", "a.example", "https://u:pw@a.example/", "https://a.example/?q", 'https://a"b/']
)
def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="is no address that a card can have") as refused:
        card("wren", *CardInputs().write(tmp_path), tmp_path / "out", url=url)
    assert "pw" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_importing_the_step_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "mlflow", "kfp", "huggingface_hub", "PIL")
    program = f"import sys, components.card; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_step_needs_only_what_its_image_has(tmp_path: Path) -> None:
    """The data image has the core and the parts card and tracking; of what else is installed here nothing may be asked."""
    absent = (
        "torch",
        "transformers",
        "numpy",
        "sklearn",
        "jinja2",
        "safetensors",
        "tokenizers",
        "matplotlib",
        "stdnum",
        "phonenumbers",
    )
    program = (
        "import sys\n"
        f"for name in {absent}: sys.modules[name] = None\n"
        "from pathlib import Path\nfrom components.card import card\nimport components.card.record\n"
        "card('wren', *map(Path, sys.argv[1:]))"
    )
    folders = [str(folder) for folder in CardInputs().write(tmp_path)]
    subprocess.run([sys.executable, "-c", program, *folders, str(tmp_path / "out")], check=True)
    assert (tmp_path / "out" / "README.md").is_file()


# Energy


def test_energy_is_power_times_seconds_or_not_told() -> None:
    found = estimate([("laptop", 60.0), ("gpu", 30.0), ("laptop", 60.0)])
    assert found
    assert found.watt_hours == pytest.approx((30 * 120 + 110 * 30) / 3600)
    assert found.grams == pytest.approx(found.watt_hours * 0.48)
    assert (found.seconds, found.nodes) == (150.0, (("laptop", 30.0), ("gpu", 110.0)))
    assert estimate([("laptop", 60.0), ("moon", 1.0)]) is None  # a part would look like the whole
    assert estimate([]) is None


def test_every_kind_of_node_with_a_price_has_a_power_and_a_reason() -> None:
    record = yaml.safe_load(POWER_FILE.read_text("utf-8"))
    assert set(record["watts"]) == set(prices())
    assert all(line["reason"] for line in (*record["watts"].values(), record["grid"]))


@pytest.mark.parametrize("text", ["{", "3", "watts: {a: {watts: -1}}\ngrid: {grams_per_kwh: 1}", "watts: {}", "watts: {a: 3}"])
def test_a_file_of_powers_that_is_none_is_named(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYNAH_POWER", str(tmp_path / "power.yaml"))
    (tmp_path / "power.yaml").write_text(text)
    with pytest.raises(InputError, match=r"power\.yaml"):
        estimate([("a", 1.0)])
