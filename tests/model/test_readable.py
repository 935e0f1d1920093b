"""Answers keep to the scripts of their author's posts and of the prompt, and to whole characters."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.data.scripts import (
    FILE,
    SHARED,
    TABLE,
    UNREADABLE,
    author_scripts,
    read_scripts,
    script_of,
    scripts_between,
    scripts_of,
    write_scripts,
)
from mynah.decoding.generate import generate
from mynah.decoding.model import load_model
from mynah.decoding.readable import Readable
from mynah.models.base_models import FLEDGLING_FOLDER
from mynah.models.sampling import Sampling
from mynah.training.recipe import build
from tests.model.engine_requests import with_body

EVERY = scripts_between(0, 0x10FFFF) - {UNREADABLE}
ANY_BYTES = Sampling(n=3, min_tokens=120, max_tokens=120, seed=5, top_p=1.0)


@pytest.fixture(scope="module")
def fledgling():
    return load_model(FLEDGLING_FOLDER)


def by_chance(model, scripts):
    """The model with a head under which each byte is as likely as any other."""
    bytes_alone = [token for token in range(model.tokenizer.size) if len(model.tokenizer.bytes_of(token)) == 1]

    def head(hidden):
        logits = torch.full((len(hidden), model.architecture.vocabulary + -model.architecture.vocabulary % 256), -torch.inf)
        logits[:, bytes_alone] = 0.0
        return logits

    return with_body(dataclasses.replace(model, scripts=scripts), head=head)


def written(model, prompt="", **choices):
    [texts] = generate(model, [prompt], ANY_BYTES, **choices).texts
    return "".join(text[len(prompt) :] for text in texts)


def test_an_answer_has_no_script_that_its_author_never_used(fledgling):
    free = by_chance(fledgling, None)
    assert scripts_of(written(free)) > {"Latn", "Zyyy"}, "by chance it writes only Latin: nothing is tested"
    latin = by_chance(fledgling, author_scripts(["only letters of England"]))
    found = generate(latin, [""], ANY_BYTES)
    assert scripts_of("".join(found.texts[0])) <= {"Latn", *SHARED}
    assert found.invalid <= ANY_BYTES.n  # an answer that is cut within its last character
    assert scripts_of(written(latin, any_script=True)) == scripts_of(written(free))


def test_a_prompt_asks_for_its_script(fledgling):
    latin = by_chance(fledgling, author_scripts(["only letters of England"]))
    assert "Cyrl" not in scripts_of(written(latin))
    assert "Cyrl" in scripts_of(written(latin, "Моя мечта"))


def test_what_nobody_can_read_is_never_allowed_even_when_asked_for(fledgling):
    readable = Readable(fledgling.tokenizer, author_scripts(["a\ue000"]), "\ue000\ufffd")
    for token in fledgling.encode("\ue000")[:-1]:
        if readable.would_spoil(token):
            return
        readable.add(token)
    assert readable.would_spoil(fledgling.encode("\ue000")[-1])


def says(readable, model, text):
    """Whether each token of `text` is allowed after those before it."""
    for token in model.encode(text):
        if readable.would_spoil(token):
            return False
        readable.add(token)
    return True


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_a_text_may_be_written_where_its_characters_are_allowed(fledgling, text, posts):
    allowed = author_scripts([posts])
    assert says(Readable(fledgling.tokenizer, allowed, ""), fledgling, text) == (scripts_of(text) <= allowed)
    if UNREADABLE not in scripts_of(text):
        assert says(Readable(fledgling.tokenizer, [], text), fledgling, text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=12))
def test_bytes_are_allowed_as_long_as_they_can_become_characters(fledgling, values):
    tokens = {fledgling.tokenizer.bytes_of(token): token for token in range(fledgling.tokenizer.size)}
    readable, said = Readable(fledgling.tokenizer, EVERY, ""), b""
    for value in values:
        token = tokens[bytes([value])]
        if not readable.would_spoil(token):
            readable.add(token)
            said += bytes([value])
    assert said.decode("utf-8", "ignore").encode() == said[: len(said.decode("utf-8", "ignore").encode())]
    assert len(said) - len(said.decode("utf-8", "ignore").encode()) < 4
    assert UNREADABLE not in scripts_of(said.decode("utf-8", "ignore"))


def test_training_records_the_authors_scripts_and_the_model_serves_by_them(long_checkpoint, data, tmp_path):
    finetune(data, tmp_path / "model", FinetuneSettings(str(long_checkpoint), build("default", {"epochs": 1})))
    assert read_scripts(tmp_path / "model") == {"Latn", *SHARED}
    assert load_model(tmp_path / "model").scripts == {"Latn", *SHARED}
    (tmp_path / "model" / FILE).unlink()
    assert load_model(tmp_path / "model").scripts is None  # made before there was a record


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"scripts": ["Latn"]}', '{"scripts": ["Zyyy", "Zinh", "Zzzz"]}', '{"scripts": 1}']
)
def test_a_damaged_record_of_scripts_is_refused(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(InputError, match=FILE):
        read_scripts(tmp_path)


def test_the_record_survives_its_file(tmp_path):
    write_scripts(tmp_path, ["hello", "привет 😀 \ue000"])
    assert read_scripts(tmp_path) == {"Latn", "Cyrl", *SHARED}


def test_the_table_is_unicodes():
    from fontTools import unicodedata

    ours = [int(line.split()[0], 16) for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")]
    for start in {*ours, *unicodedata.Scripts.RANGES}:
        for code in {max(0, start - 1), start}:
            assert script_of(chr(code)) == ("Zzzz" if code == 0xFFFD else unicodedata.script(chr(code))), hex(code)
