"""The card step: what the card shows."""

import json
import re
from pathlib import Path

import pytest
from card_text import words, written
from PIL import Image, PngImagePlugin

from components.card.front_matter import with_new_url
from components.card.inputs import RunRecord
from components.card.preview import read_preview
from components.card.read_inputs import read_inputs
from components.card.readme import write
from components.card.step import card
from mynah.data.markdown import JOINER
from mynah.tracking.energy import estimate
from tests.code.card_inputs import CardInputFiles, column, metrics, samples, source, training


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card of ordinary inputs."""
    folder = tmp_path_factory.mktemp("made")
    card("wren", *CardInputFiles().write(folder), folder / "out")
    return folder / "out"


def test_the_training_section_names_the_device(tmp_path: Path) -> None:
    named = {"device": "cuda", "device_name": "NVIDIA H200", "kernels": "CUDA 13.0, sm_90", "processes": 2}
    seen = words(written(tmp_path / "named", CardInputFiles(training=training(**named))))
    assert "2 x NVIDIA H200 (CUDA 13.0, sm_90), bf16" in seen
    assert "cpu, bf16" in words(written(tmp_path / "earlier", CardInputFiles(training=training())))


def test_author_texts_survive(tmp_path: Path) -> None:
    inputs = CardInputFiles(
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
        "base_model_license": "apache-2.0",
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
    inputs = CardInputFiles(sources=[source(person) for person in people])
    inputs.funnel["authors"] = [column(person) | {"language": code} for person, code in zip(people, said, strict=True)]
    data = ModelCard(write(read_inputs("wren", *inputs.write(tmp_path)))).data
    assert data.to_dict().get("language") == named


def test_the_front_matter_tells_emissions_and_where_the_picture_is(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    record = RunRecord("0a", {}, 0.5, estimate([("laptop", 3600.0)]))
    text = write(read_inputs("wren", *CardInputFiles().write(tmp_path), record, "https://a.example/wren/"))
    data = ModelCard(text).data
    assert data["thumbnail"] == "https://a.example/wren/predictions.png"
    assert data["co2_eq_emissions"]["emissions"] == 14.4  # 30 W for an hour, 480 g a kilowatt-hour
    assert data["co2_eq_emissions"]["training_type"] == "fine-tuning"
    assert "| Energy | about 30 Wh, 14 g CO2e, estimated from 3,600 s on nodes of the kind laptop at 30 W" in text
    moved = with_new_url(text, "https://b.example/page.html")
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

    text = written(tmp_path, CardInputFiles(training=training(base_model=base | {"digest": "00"})))
    assert ModelCard(text).data.base_model == (base["name"] if named else None)


def test_an_adapter_is_named_with_its_base_model_and_how_it_is_loaded(tmp_path: Path) -> None:
    recipe = {"preset": "default", "lora_rank": 16, "merge": False}
    inputs = CardInputFiles(training=training(recipe=recipe))
    model, *others = inputs.write(tmp_path)
    full = write(read_inputs("wren", model, *others))
    assert "AutoPeftModelForCausalLM" not in full
    assert "| Adapter |" not in full
    (model / "adapter_config.json").write_text("{}")
    (model / "adapter_model.safetensors").write_bytes(bytes(9_800_000))
    text = write(read_inputs("wren", model, *others))
    assert f"| Adapter | rank 16, 9.8 MB, beside the base model's weights with the digest `{'cd' * 32}` |" in text
    assert "of fledgling. Where there is an `adapter_model.safetensors` beside this file" in text
    assert 'AutoPeftModelForCausalLM.from_pretrained(".")' in text


def test_the_data_table_has_huggingtweets_rows_and_adds_up(tmp_path: Path) -> None:
    inputs = CardInputFiles(sources=[source("wren"), source("bo", display_name="Bo")])
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
    assert set(headings) - set(theirs) == {"Evaluation results", "Samples", "Licence", "How to have it removed"}


def test_the_licence_of_the_base_model_follows(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    base = {"name": "meta-llama/Llama-3.2-1B", "digest": "00", "revision": "ab" * 20, "license": "llama3.2", "family": "llama"}
    card = ModelCard(written(tmp_path, CardInputFiles(training=training(base_model=base))))
    assert (card.data.license, card.data.license_link) == ("llama3.2", "https://www.llama.com/llama3_2/license/")
    assert (card.data.tags, card.data.base_model) == (["mynah", "llama", "text-generation"], base["name"])
    assert "**Built with Llama**" in card.text
    assert "which is under the Llama 3.2 Community License" in card.text
    assert "GPT-2" not in card.text


@pytest.mark.parametrize(
    ("license_id", "said"), [("unknown", "names no licence that was found"), ("birds-only", "is under the licence birds-only")]
)
def test_a_licence_whose_terms_are_not_known(tmp_path: Path, license_id: str, said: str) -> None:
    base = {"name": "nightjar", "digest": "00", "revision": "", "license": license_id, "family": "qwen3"}
    text = written(tmp_path, CardInputFiles(training=training(base_model=base)))
    assert said in words(text)
    assert f"base_model_license: {license_id}\n" in text


def test_what_the_packages_model_was_made_from_is_named(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    base = {"name": "smollm2", "digest": "00", "revision": "0.1.2", "license": "apache-2.0", "family": "llama"}
    text = written(tmp_path, CardInputFiles(training=training(base_model=base)))
    assert ModelCard(text).data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_everything_that_the_card_shows_lies_beside_it(tmp_path: Path) -> None:
    inputs = CardInputFiles(sources=[source("wren_groundling", avatar="avatar-7.png")])
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
    folders = CardInputFiles(sources=[source("wren_groundling", avatar=avatar)]).write(tmp_path)
    (folders[0] / "secret.png").write_bytes(b"x")
    card("wren", *folders, tmp_path / "out")
    assert "<img" not in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert not list((tmp_path / "out").glob("avatar-*"))


def test_the_card_links_to_what_recorded_it(tmp_path: Path) -> None:
    pages = {name: f"https://m.example/#/experiments/1/runs/{name or '0a'}" for name in ("", "filter", "finetune", "evaluate")}
    folders = CardInputFiles().write(tmp_path)
    text = write(read_inputs("wren", *folders, RunRecord("0a", pages)))
    assert "as run [`0a`](https://m.example/#/experiments/1/runs/0a)." in text
    for link in (
        "[the texts](",
        "/runs/filter/artifacts)",
        "[the training run](",
        "/runs/finetune)",
        "/runs/evaluate/artifacts)",
    ):
        assert link in text
    text = write(read_inputs("wren", *folders, RunRecord("0a")))
    assert "as run `0a`." in text
    assert "MLflow keeps" not in text
    assert "MLflow" not in write(read_inputs("wren", *folders)).partition("## Training data")[0]


def test_planted_strings_are_told(tmp_path: Path) -> None:
    assert "planted" not in written(tmp_path / "a", CardInputFiles())
    text = written(tmp_path / "b", CardInputFiles(training=training(canaries={"count": 4, "seed": 1})))
    assert "4 made-up strings were planted among those to train on" in text


def test_what_is_unknown_is_left_open(tmp_path: Path) -> None:
    nameless = source("wren_groundling", display_name=None, bio=None, first=None, last=None, basis="")
    inputs = CardInputFiles(
        sources=[nameless], metrics=metrics(perplexity=None), samples=[], verdict={"passed": False, "checks": []}
    )
    text = written(tmp_path, inputs).replace(JOINER, "")
    assert "- **@wren&#95;groundling**\n" in text
    assert "1,700 posts by @wren&#95;groundling. Basis: not stated." in text
    assert "| Perplexity (choices per token, lower is better) | n/a |  |  |  |" in text
    assert "(none)" in text


def test_another_prompt_stands_in_where_the_usual_was_not_asked(tmp_path: Path) -> None:
    text = written(tmp_path, CardInputFiles(samples=samples("Birds sing.", prompt="Birds")))
    assert "The first samples for the prompt “Birds”" in text
    assert "1. Birds sing." in text
