"""The bundled base model: small, plain, and it writes words; fine-tuning beats it clearly."""

import json
import re

import pytest
from safetensors import safe_open

from components.fetch.step import fetch
from components.filter.step import FilterSettings, filter_posts
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.decoding.generate import generate
from mynah.decoding.model import load_model
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING_FOLDER
from mynah.models.sampling import Sampling
from mynah.training.recipe import build


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def test_it_is_small_and_holds_weights_in_half_precision_only():
    weights = FLEDGLING_FOLDER / "model.safetensors"
    assert sum(path.stat().st_size for path in FLEDGLING_FOLDER.glob("*.safetensors")) <= 8_000_000
    with safe_open(weights, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 - not a dict


def test_its_card_says_what_its_record_says():
    record = json.loads((FLEDGLING_FOLDER / "training.json").read_text())
    card = (FLEDGLING_FOLDER / "README.md").read_text()
    assert f"{record['held_out_loss']:.3f} nats per token, {record['held_out_bits_per_character']:.3f} bits per character" in card
    assert f"{record['train_tokens']:,} tokens" in card
    assert f"{record['epochs']} epochs" in card
    assert f"seed {record['seed']}" in card
    assert checkpoint.load(FLEDGLING_FOLDER).model.num_parameters() == record["parameters"]


def test_it_writes_words(shared):
    known = set()
    for name in ("shakespeare", "inaugural", "state_union"):
        known |= set(words((shared / f"data/public-domain-text/{name}.txt").read_text("utf-8", errors="replace")))
    answers = generate(load_model(FLEDGLING_FOLDER), ["", "My dream is"], Sampling(n=16, max_tokens=50)).texts
    written = [word for several in answers for text in several for word in words(text)]
    assert sum(word in known for word in written) / len(written) > 0.88  # noise of the same letters: below 0.2


def test_fine_tuning_beats_it_clearly(tmp_path):
    fetch(["sample"], tmp_path / "raw", limit=700)
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    history = finetune(tmp_path / "data", tmp_path / "model", FinetuneSettings(recipe=build("default", {"epochs": 2}))).history
    assert history[-1].held_out_loss < history[0].held_out_loss - 0.3


@pytest.mark.parametrize("text", ["Hello, world!", "tab\tnew\nline", "emoji 🎭 and é", "  blanks  ", "<|endoftext|>"])
def test_its_tokenizer_gives_back_any_text(text):
    loaded = checkpoint.load(FLEDGLING_FOLDER)
    from mynah.models.sampling import encode

    assert loaded.tokenizer.decode(encode(loaded, text)) == text
