"""The card step: the sample that is shown, what it refuses, what it imports, and energy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.card.step import card
from mynah.core.errors import InputError
from mynah.core.machine import prices
from mynah.data.verbatim_filter import write_bloom
from mynah.tracking.energy import POWER_FILE, estimate
from tests.code.card_inputs import CardInputFiles, column, metrics, samples, source, training, verdict

# The sample that is shown


def chosen_of(tmp_path: Path, texts: list[str], offending: list[str] | None = None, **options: int) -> int:
    failed = verdict(passed=False)
    failed["checks"][0]["samples"] = offending or []
    folders = CardInputFiles(samples=samples(*texts), verdict=failed).write(tmp_path)
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
    with pytest.raises(InputError, match="there is no sample 21: the card has 20"):
        chosen_of(tmp_path, texts, choose=21)
    assert (tmp_path / "out" / "predictions.png").read_bytes() == before
    assert chosen_of(tmp_path, texts) == 1
    assert (tmp_path / "out" / "predictions.png").read_bytes() != before
    with pytest.raises(InputError, match="the card has none"):
        card("wren", *CardInputFiles(samples=[]).write(tmp_path / "b"), tmp_path / "none", choose=1)


# What it refuses


@pytest.mark.parametrize("name", ["sources", "funnel", "training", "metrics", "verdict", "samples"])
@pytest.mark.parametrize("content", [None, "{", "3", '{"passed": []}', "[[]]", "null"])
def test_a_missing_or_misshapen_file_is_named(tmp_path: Path, name: str, content: str | None) -> None:
    folders = CardInputFiles().write(tmp_path)
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
        (CardInputFiles(training=training(history={})), "history"),
        (CardInputFiles(training=training(tokens="many")), "tokens"),
        (CardInputFiles(training=training(steps=-1)), "steps"),
        (CardInputFiles(training=training(seconds=True)), "seconds"),
        (CardInputFiles(training=training(base_model={"name": "gpt2"})), "base_model.digest"),
        (CardInputFiles(metrics=metrics(held_out_loss=float("nan"))), "held_out_loss"),
        (CardInputFiles(metrics=metrics(perplexity=10**400)), "perplexity"),
        (CardInputFiles(metrics={}), "held_out_loss"),
        (CardInputFiles(verdict={"passed": 1, "checks": []}), "passed"),
        (CardInputFiles(verdict={"passed": True, "checks": [{}]}), "checks[0].metric"),
        (CardInputFiles(samples=[{"prompt": "a", "texts": [3]}]), "[0].texts[0]"),
        (CardInputFiles(sources=[source("a") | {"author": None, "posts": 1.5}]), "[0].posts"),
        (CardInputFiles(funnel={"authors": []}), "authors"),
        (CardInputFiles(funnel={"authors": [column("a") | {"kept": 7}]}), "authors[0]"),
        (CardInputFiles(funnel={"authors": [column("a") | {"dropped": [1]}]}), "authors[0].dropped"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(tmp_path: Path, inputs: CardInputFiles, key: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{key}'")):
        card("wren", *inputs.write(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_bot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bot's name"):
        card("Wren`](x)", *CardInputFiles().write(tmp_path), tmp_path / "out")


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "https://", "a.example", "https://u:pw@a.example/", "https://a.example/?q", 'https://a"b/']
)
def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="is not a valid address for a card") as refused:
        card("wren", *CardInputFiles().write(tmp_path), tmp_path / "out", url=url)
    assert "pw" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_importing_the_step_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "mlflow", "kfp", "huggingface_hub", "PIL")
    program = f"import sys, components.card.step; print([name for name in {heavy} if name in sys.modules])"
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
        "from pathlib import Path\nfrom components.card.step import card\nimport components.card.run_record\n"
        "card('wren', *map(Path, sys.argv[1:]))"
    )
    folders = [str(folder) for folder in CardInputFiles().write(tmp_path)]
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
