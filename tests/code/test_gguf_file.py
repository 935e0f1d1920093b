"""GGUF files that cannot be used, each refused in a line with the fix; what was written in a hurry is fuzzed."""

import json
import random
import re
import struct
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mynah.core.errors import InputError
from mynah.models.architecture import read_architecture
from mynah.models.base_models import FLEDGLING_FOLDER, resolve
from mynah.models.gguf.families import GGUF_NAME_OF, from_gguf, tensor_names, to_gguf
from mynah.models.gguf.header import SUPPORTED, read_header
from mynah.models.gguf.tokenizer_json import tokenizer_json, vocabulary_of
from mynah.models.gguf.tokens import PRE_TOKENIZERS, Kind, Vocabulary
from mynah.models.gguf.write import write_gguf

ROPE = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 0,
}  # fmt: skip
CONFIGS = {
    "gpt2": {"vocab_size": 64, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2, "eos_token_id": 0},
    "llama": ROPE | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    "qwen2": ROPE, "qwen3": ROPE, "gemma3_text": ROPE,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


@pytest.fixture(scope="module")
def sound(tiny_checkpoint, tmp_path_factory):
    """The bytes of a small whole file."""
    return write_gguf(tiny_checkpoint, tmp_path_factory.mktemp("sound") / "wren.gguf").read_bytes()


def refused(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        resolve(str(path))
    assert str(path) in error.value.problem or path.name in error.value.problem
    assert error.value.fix
    return error.value.problem


def changed(sound, tmp_path, **values):
    """The file with other values in its header, or without those that are None; of the same tensors."""
    (tmp_path / "before.gguf").write_bytes(sound)
    reader = gguf.GGUFReader(tmp_path / "before.gguf")
    writer = gguf.GGUFWriter(tmp_path / "after.gguf", values.pop("architecture", "gpt2"))
    tensors = values.pop("tensors", lambda name, data: [(name, data)])
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture" or values.get(field.name, "") is None:
            continue
        writer.add_key_value(
            field.name, values.get(field.name, field.contents()), field.types[0], field.types[-1] if len(field.types) > 1 else None
        )  # fmt: skip
    for name, value in values.items():
        if value is not None and name not in reader.fields:
            writer.add_uint32(name, value)
    for tensor in reader.tensors:
        for name, data in tensors(tensor.name, tensor.data):
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (tmp_path / "after.gguf").read_bytes()


def test_a_file_is_converted_once_and_then_a_folder(sound, tiny_checkpoint, tmp_path, cache):
    path = tmp_path / "wren.gguf"
    path.write_bytes(sound)
    found = resolve(str(path))
    assert (found.name, found.revision, found.folder.parent) == ("wren.gguf", "", cache)
    before = (found.folder / "model.safetensors").stat().st_mtime_ns
    path.rename(tmp_path / "moved.gguf")
    again = resolve(str(tmp_path / "moved.gguf"))
    assert (again.folder, (again.folder / "model.safetensors").stat().st_mtime_ns) == (found.folder, before)
    assert again.weights_digest == found.weights_digest


def test_several_that_ask_for_a_file_at_once_get_one_folder(sound, tmp_path, cache):
    (tmp_path / "wren.gguf").write_bytes(sound)
    with ThreadPoolExecutor(4) as several:
        found = set(several.map(lambda _: resolve(str(tmp_path / "wren.gguf")).folder, range(8)))
    assert len(found) == 1
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{found.copy().pop().name}{end}" for end in ("", ".lock"))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda sound: b"", "is empty"),
        (lambda sound: b"PK\3\4" + sound, "is no GGUF file: it begins with b'PK"),
        (lambda sound: b"GGUF", "is cut"),
        (lambda sound: sound[:30], "is cut: its header"),
        (lambda sound: sound[: len(sound) // 2], "is cut: its tensor .* ends at byte [0-9,]+, and the file at [0-9,]+$"),
        (lambda sound: sound[:-32], "is cut: its tensor"),
        (lambda sound: sound[:4] + struct.pack("<I", 1) + sound[8:], "is GGUF of version 1"),
        (lambda sound: sound[:4] + struct.pack(">I", 3) + sound[8:], "big-endian"),
        (lambda sound: sound[:8] + struct.pack("<Q", 2**60) + sound[16:], "is cut: its header"),
        (lambda sound: sound[:16] + struct.pack("<Q", 2**64 - 1) + sound[24:], "is cut: its header"),
    ],
)
def test_a_file_that_is_no_whole_gguf(sound, tmp_path, cache, what, said):
    assert re.search(said, refused(tmp_path / "wren.gguf", what(sound)))
    assert not cache.exists() or [path for path in cache.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"architecture": "mamba"}, "architecture 'mamba'"),
        ({"gpt2.expert_count": 8}, "mixture of experts"),
        ({"gpt2.block_count": None}, "does not have gpt2.block_count"),
        ({"gpt2.block_count": 2**31}, "gpt2.block_count"),
        ({"gpt2.block_count": 9_000_000}, "fewer tensors than layers"),
        ({"gpt2.block_count": 2}, "lacks its tensor 'blk.1.attn_qkv.weight'"),
        ({"gpt2.embedding_length": 48}, "by its settings"),
        ({"gpt2.attention.layer_norm_epsilon": None}, "layer_norm_epsilon"),
        ({"tokenizer.ggml.model": "t5"}, "a tokenizer of the kind 't5'"),
        ({"tokenizer.ggml.pre": "falcon"}, "by the rules 'falcon'"),
        ({"tokenizer.ggml.tokens": ["a"]}, "does not fit the model"),
        ({"tokenizer.ggml.merges": ["Ġ", "a b"]}, "cannot be used: a merge is not of two pieces"),
        ({"tokenizer.ggml.merges": ["nobody knows"]}, "cannot be used"),
        ({"tokenizer.ggml.eos_token_id": None}, "names no token that ends a text"),
        ({"tokenizer.ggml.eos_token_id": 90_000}, "the token eos is 90000"),
        ({"tensors": lambda name, data: [(name, data), *([("rel.bias", data)] if "output_norm.bias" in name else [])]}, "rel.bias"),
        ({"tensors": lambda name, data: [(name, np.full_like(data, np.nan) if "norm" in name else data)]}, "not finite"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_used(sound, tmp_path, cache, values, said):
    problem = refused(tmp_path / "wren.gguf", changed(sound, tmp_path, **values))
    assert said in problem
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_quantisation_that_is_not_supported_is_named(sound, tmp_path):
    at = sound.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 16
    assert struct.unpack_from("<I", sound, at) == (1,)  # F16
    for number, said in ((40, "NVFP4"), (4, "of the unknown number 4"), (24, "I8")):
        problem = refused(tmp_path / "wren.gguf", sound[:at] + struct.pack("<I", number) + sound[at + 4 :])
        assert f"token_embd.weight is quantised as {said}" in problem


def test_no_file_and_a_folder_named_like_one(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        resolve(str(tmp_path / "nothing.gguf"))
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(InputError, match=r"has no config\.json"):
        resolve(str(tmp_path / "folder.gguf"))


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path, data):
    refused(tmp_path / "noise.gguf", data)
    refused(tmp_path / "noise.gguf", b"GGUF\3\0\0\0" + data)


def test_a_header_with_any_byte_changed_is_read_or_refused(sound, tmp_path):
    """Nothing but InputError, and no memory or time for sizes that a file only claims."""
    path, dice = tmp_path / "wren.gguf", random.Random(4)
    header = sound.index(b"position_embd.weight") + 200
    for _ in range(400):
        spoilt = bytearray(sound)
        for _ in range(dice.choice([1, 1, 4])):
            spoilt[dice.randrange(header)] = dice.choice([0, 1, 127, 255, dice.randrange(256)])
        path.write_bytes(spoilt[: dice.choice([len(sound), dice.randrange(len(sound))])])
        try:
            read_header(path)
            if dice.random() < 0.3:
                resolve(str(path))
        except InputError as error:
            assert len(str(error).splitlines()) <= 2


# What it is made of


@pytest.mark.parametrize("family", CONFIGS)
def test_tensors_are_named_as_llama_cpp_names_them(family, tmp_path):
    of = read_architecture({"model_type": family} | CONFIGS[family], tmp_path)
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == GGUF_NAME_OF[family])
    known = gguf.get_tensor_name_map(architecture, of.layers)
    for name in tensor_names(of):
        assert known.get_name(name.checkpoint, try_suffixes=(".weight", ".bias")) == name.gguf
        numbers = np.random.default_rng(0).standard_normal(name.shape).astype(np.float32)
        stored = to_gguf(numbers, name, of)
        assert stored.shape == name.stored_shape
        assert np.allclose(from_gguf(stored, name, of), numbers, atol=1e-6)


def test_every_supported_quantisation_can_be_read():
    for kind in SUPPORTED:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        assert gguf.quants.dequantize(np.zeros((1, size), np.uint8), kind).shape == (1, block)


TEXTS = [
    "Hello 12345 world's",
    "  two  blanks\n\n\nlines\t",
    "déjà-vu 🐦 ½ n'est-ce pas",
    "DON'T we'll x=3;\r\n",
    "漢字と日本語 1,000.50",
]
PIECES = {
    "gpt-2": ["Hello", "Ġ12345", "Ġworld", "'s"],
    "smollm": ["Hello", "Ġ", "1", "2", "3", "4", "5", "Ġworld", "'s"],
    "llama-bpe": ["Hello", "Ġ", "123", "45", "Ġworld", "'s"],
    "qwen2": ["Hello", "Ġ", "1", "2", "3", "4", "5", "Ġworld", "'s"],
}


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_text_is_split_by_the_named_rules_and_read_back(pre, tmp_path):
    from tokenizers import Tokenizer

    base = json.loads((FLEDGLING_FOLDER / "tokenizer.json").read_text())
    vocabulary = vocabulary_of(FLEDGLING_FOLDER, base, len(base["model"]["vocab"]))
    vocabulary = Vocabulary("gpt2", pre, vocabulary.tokens, vocabulary.kinds, vocabulary.merges)
    found = tokenizer_json(vocabulary, 0, [0])
    tokenizer = Tokenizer.from_str(json.dumps(found))
    split = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(TEXTS[0])]
    assert split == PIECES[pre]
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        assert ids[0] == 0
        assert tokenizer.decode(ids) == text
    assert vocabulary_of(tmp_path, found, len(vocabulary.tokens)) == vocabulary


@pytest.mark.parametrize("adds_blank", [True, False])
def test_pieces_of_sentencepiece_merge_by_their_scores(adds_blank, tmp_path):
    from tokenizers import Tokenizer

    scores = {"▁": -1, "a": -2, "b": -3, "c": -4, "ab": -10, "bc": -5, "▁a": -6}
    special = ["<unk>", "<s>", "</s>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *scores]
    kinds = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, *[Kind.BYTE] * 256, *[Kind.NORMAL] * len(scores)]
    vocabulary = Vocabulary("llama", "", tokens, kinds, (), [0.0] * 259 + [float(score) for score in scores.values()], adds_blank)
    found = tokenizer_json(vocabulary, 1, [1, 2])
    tokenizer = Tokenizer.from_str(json.dumps(found))
    pieces = tokenizer.encode("abc é").tokens
    first = ["<s>", "▁a", "bc"] if adds_blank else ["<s>", "a", "bc"]  # "bc" before "ab" and "▁a": -5 is the highest
    assert pieces == [*first, "▁", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(tokenizer.encode("abc é").ids) == "abc é"
    back = vocabulary_of(tmp_path, found, len(tokens))
    assert (back.tokens, back.kinds, back.adds_blank) == (tokens, kinds, adds_blank)
    again = Tokenizer.from_str(json.dumps(tokenizer_json(back, 1, [1, 2])))
    for text in ("abcabc", "cab bac", " abc", "ab  c"):
        assert again.encode(text).ids == tokenizer.encode(text).ids
