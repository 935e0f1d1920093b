"""Our own compiled functions: int8 products, attention and sampling are what their definitions say, and a row's are its own alone."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mynah.decoding import huge_pages
from mynah.decoding.attention import PromptAttention, StepAttention
from mynah.decoding.compiled_attention import Rows, attend
from mynah.decoding.compiled_int8 import CompiledInt8Linear
from mynah.decoding.compiled_sampling import draw, weigh
from mynah.models.architecture import read_architecture
from tests.model.runnable_kernels import RUNNABLE

pytestmark = pytest.mark.skipif("avx2-int8" not in {each.name for each in RUNNABLE}, reason="this machine cannot run avx2-int8")

SEEDS = st.integers(0, 2**32 - 1)
MANY = settings(max_examples=60, deadline=None)


def random_layer(seed, outputs, inputs):
    """A layer of weights of all sizes, and the weights that it keeps, fp64."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator) * torch.logspace(-3, 1, outputs)[:, None]
    bias = torch.randn(outputs, generator=generator)
    scale = weight.abs().amax(1).clamp_min(1e-30) / 127
    kept = (weight / scale[:, None]).round().double() * scale.double()[:, None]
    return CompiledInt8Linear(weight, bias), kept, bias


# int8


@MANY
@given(
    SEEDS, st.integers(1, 70), st.sampled_from([1, 2, 31, 192, 576, 2048, 2049, 3072, 4500]), st.integers(1, 40), st.booleans()
)
def test_a_rows_result_is_the_same_to_the_bit_beside_any_others_with_any_threads(seed, outputs, inputs, rows, activation):
    layer, _, _ = random_layer(seed, outputs, inputs)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=generator) * torch.logspace(-30, 30, rows)[:, None]
    together = layer(x, activation=activation)
    before = torch.get_num_threads()
    try:
        for threads, row in itertools.product((1, 2, 3), {0, rows // 2, rows - 1}):
            torch.set_num_threads(threads)
            assert torch.equal(layer(x[row : row + 1], activation=activation)[0], together[row])
            assert torch.equal(layer(x[row:], activation=activation)[0], together[row])
    finally:
        torch.set_num_threads(before)


@MANY
@given(SEEDS, st.integers(1, 70), st.sampled_from([1, 2, 31, 192, 2049, 3072]), st.integers(1, 20))
def test_a_product_is_exact_but_for_the_rounding_of_weights_and_rows(seed, outputs, inputs, rows):
    layer, kept, bias = random_layer(seed, outputs, inputs)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=generator) * torch.logspace(-4, 4, rows)[:, None]
    exact = x.double() @ kept.T + bias.double()
    rounding = x.abs().amax(1, keepdim=True).double() / (2 * 8127) * kept.abs().sum(1)
    assert ((layer(x).double() - exact).abs() <= 1.001 * rounding + 1e-6 * exact.abs() + 1e-6).all()


def test_sums_of_the_largest_digits_do_not_overflow():
    for inputs, sign in itertools.product((2048, 4096, 9000), (1.0, -1.0)):
        layer = CompiledInt8Linear(torch.full((32, inputs), sign), torch.zeros(32))
        assert layer(torch.ones(7, inputs)).flatten().tolist() == pytest.approx([sign * inputs] * 7 * 32, rel=1e-5)


def test_zeros_infinities_and_what_is_no_number():
    weight, bias = torch.randn(40, 192), torch.randn(40)
    weight[3], bias[5] = 0.0, -torch.inf
    layer = CompiledInt8Linear(weight, bias)
    x = torch.randn(5, 192)
    x[1], x[2, 7], x[3, 7] = 0.0, torch.nan, torch.inf
    found = layer(x)
    kept = torch.arange(40) != 5
    assert torch.equal(found[1, kept], bias[kept])
    assert (found[[0, 1, 4], 5] == -torch.inf).all()
    assert found[[0, 1, 4], 3].tolist() == [bias[3].item()] * 3
    assert not torch.isfinite(found[2]).any()  # broken weights show, and touch no other row
    assert not torch.isfinite(found[3]).any()
    assert torch.equal(found[4], layer(x[4:])[0])


def test_gelu_is_that_of_gpt2():
    layer, _, _ = random_layer(0, 64, 64)
    x = torch.randn(30, 64)
    assert torch.allclose(layer(x, activation=True), torch.nn.functional.gelu(layer(x), approximate="tanh"), atol=1e-6, rtol=1e-5)


def test_rows_that_lie_apart_in_memory():
    layer, _, _ = random_layer(1, 48, 96)
    wide = torch.randn(9, 300)
    assert torch.equal(layer(wide[:, 100:196]), layer(wide[:, 100:196].contiguous()))
    assert torch.equal(layer(wide[:, ::3][:, :96]), layer(wide[:, ::3][:, :96].contiguous()))


def test_weights_in_huge_pages_are_the_same():
    apart, _, _ = random_layer(2, 300, 768)
    with huge_pages.side_by_side(huge_pages.LARGE):
        first, _, _ = random_layer(2, 300, 768)
        second, _, _ = random_layer(3, 300, 768)
    x = torch.randn(3, 768)
    assert torch.equal(apart(x), first(x))
    assert not torch.equal(first(x), second(x))


# Attention


@MANY
@given(SEEDS, st.sampled_from([(6, 6, 24), (6, 2, 64), (8, 1, 20), (9, 3, 64)]), st.lists(st.integers(0, 95), min_size=1, max_size=6),
       st.sampled_from([0, 1, 7, 64]))  # fmt: skip
def test_attention_is_that_of_torch_and_each_sequences_own(seed, heads, places, window):
    count, kv_heads, head = heads
    config = {"model_type": "llama", "hidden_size": 192, "num_attention_heads": count, "num_key_value_heads": kv_heads}
    sizes = {"head_dim": head, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}
    of = read_architecture(config | sizes, Path("a model"))
    generator = torch.Generator().manual_seed(seed)
    slots, keys = len(places), 96
    cache = torch.randn(2, slots + 2, kv_heads, keys, head, generator=generator)
    query, added = (
        torch.randn(slots, count, head, generator=generator),
        torch.randn(slots, 2, kv_heads, head, generator=generator),
    )
    expected_cache = cache.clone()
    for slot, place in enumerate(places):
        expected_cache[:, slot, :, place] = added[slot]
    expected = StepAttention(of, torch.tensor(places), keys)(query, expected_cache[:, :slots], window)
    alone = [
        attend(
            of,
            query[slot : slot + 1],
            added[slot : slot + 1],
            cache[:, slot : slot + 1].contiguous(),
            window,
            Rows(torch.tensor([0]), torch.tensor(places[slot : slot + 1])),
        )
        for slot in range(slots)
    ]
    found = attend(of, query, added, cache, window, Rows(torch.arange(slots), torch.tensor(places)))
    assert torch.equal(cache, expected_cache)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, torch.cat(alone))


@MANY
@given(SEEDS, st.sampled_from([(6, 6, 24), (6, 2, 64), (9, 3, 64)]), st.lists(st.integers(1, 40), min_size=1, max_size=5),
       st.sampled_from([0, 1, 7, 64]), st.sampled_from([1, 2, 3]))  # fmt: skip
def test_attention_of_prompts_is_that_of_torch_however_many_threads(seed, heads, lengths, window, threads):
    count, kv_heads, head = heads
    config = {"model_type": "llama", "hidden_size": 192, "num_attention_heads": count, "num_key_value_heads": kv_heads}
    sizes = {"head_dim": head, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}
    of = read_architecture(config | sizes, Path("a model"))
    generator = torch.Generator().manual_seed(seed)
    slots = torch.tensor([slot for slot, length in enumerate(lengths) for _ in range(length)])
    places = torch.tensor([place for length in lengths for place in range(length)])
    query = torch.randn(len(slots), count, head, generator=generator)
    added = torch.randn(len(slots), 2, kv_heads, head, generator=generator)
    cache = torch.randn(2, len(lengths) + 1, kv_heads, 64, head, generator=generator)  # what is beyond a token must not count
    numbers = torch.arange(len(slots))
    last = numbers[slots == len(lengths) - 1]  # the last prompt has two sequences
    rows = Rows(slots, places, torch.stack([torch.cat(pair) for pair in (
        (numbers, last), (slots, torch.full_like(last, len(lengths))), (places, places[last])
    )]))  # fmt: skip
    expected = PromptAttention(of, [numbers[slots == slot][None] for slot in range(len(lengths))])(query, added, window)
    before = torch.get_num_threads()
    plain = attend(of, query, added, cache, window, rows)
    try:
        torch.set_num_threads(threads)
        found = attend(of, query, added, cache, window, rows)
    finally:
        torch.set_num_threads(before)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, plain)
    assert torch.equal(cache[:, slots, :, places], added)
    assert torch.equal(cache[:, -1, :, : lengths[-1]], cache[:, -2, :, : lengths[-1]])


# Sampling


@MANY
@given(SEEDS, st.integers(1, 9))
def test_weights_are_exponentials_and_a_rows_are_its_own(seed, rows):
    logits = 30 * torch.randn(rows, 512, generator=torch.Generator().manual_seed(seed))
    logits[:, 300:] = -torch.inf
    weights, total = weigh(logits)
    exact = (logits.double() - logits.double().amax(1, keepdim=True)).exp()
    assert torch.allclose(weights.double(), exact, rtol=1e-5, atol=1e-37)
    assert (weights[:, 300:] == 0).all()
    assert torch.allclose(total.double(), exact.sum(1), rtol=1e-5)
    assert all(torch.equal(weigh(logits[row : row + 1])[0][0], weights[row]) for row in range(rows))


def test_weights_of_broken_rows_show():
    logits = torch.randn(4, 256)
    logits[1, 9], logits[2], logits[3, 3] = torch.nan, -torch.inf, torch.inf
    assert torch.isfinite(weigh(logits)[1]).tolist() == [True, False, False, False]


@MANY
@given(SEEDS, st.integers(1, 5), st.floats(0, 1, exclude_max=True), st.sampled_from([0.1, 0.5, 0.95, 1.0]))
def test_a_token_is_drawn_by_the_cumulated_weights(seed, rows, number, limit):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(rows, 768, generator=generator) * (torch.rand(rows, 768, generator=generator) < 0.05)
    weights[:, 5] = 0.7
    total = weights.sum(1)
    tokens, outside = draw(weights, total, [number] * rows, [limit] * rows)
    sums = weights.double().cumsum(1)
    for row, token in enumerate(tokens):
        assert weights[row, token] > 0
        assert sums[row, token] - weights[row, token] - 1e-3 <= number * sums[row, -1] <= sums[row, token] + 1e-3
        likelier = weights[row][weights[row] > weights[row, token]].sum()
        if abs(likelier - limit * total[row]) > 1e-3:
            assert outside[row] == (limit < 1 and bool(likelier >= limit * total[row]))


def test_the_ends_of_the_random_numbers_draw_the_first_and_the_last_token():
    weights = torch.zeros(2, 512)
    weights[:, [3, 200, 400]] = 0.1
    tokens, _ = draw(weights, weights.sum(1), [0.0, 0.99999997], [1.0, 1.0])
    assert tokens == [3, 400]


# The compiler's cache


@pytest.mark.slow
def test_two_processes_that_compile_at_once_and_a_folder_that_cannot_be_written(tmp_path):
    """Both get the functions; and where no cache can be kept, they are compiled for the process alone."""
    code = "from mynah.decoding.compiled.sampling import draw; print(draw.address > 0)"
    home = tmp_path / "home"
    home.write_text("a file where the user's folder should be")
    package = Path(__file__).parents[2] / "mynah"
    copy = tmp_path / "read-only"
    shutil.copytree(package, copy / "mynah", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "mynah/decoding/compiled/__pycache__").write_text("no folder")
    kept = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    none = os.environ | {"PYTHONPATH": str(copy), "HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    none.pop("NUMBA_CACHE_DIR", None)
    runs = [(kept, None), (kept, None), (none, copy)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=each, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for each, cwd in runs
    ]
    assert [process.communicate(timeout=200) for process in started] == [("True\n", "")] * 3
    assert list((tmp_path / "kept").rglob("*.nbc"))
