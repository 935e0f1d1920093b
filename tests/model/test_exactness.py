"""The trial of exactness finds kernels whose rows depend on how many there are, also where few results show it."""

import dataclasses
from pathlib import Path

import pytest
import torch

from mynah.decoding.attention import StepAttention
from mynah.decoding.exactness import attention_is_independent, rows_are_independent
from mynah.decoding.kernels import TABLE, runnable
from mynah.decoding.model import load_model
from mynah.models.architecture import read_architecture
from mynah.models.base_models import FLEDGLING, resolve

PLAIN = next(kernels for kernels in TABLE if kernels.name == "torch-fp32")
SIZES = (384, 192, False)


def kernels_of(multiply, dtype=torch.float32):
    def make(weight, _bias):
        return (lambda rows, *, activation: multiply(rows.float(), weight).to(dtype)), weight.nbytes

    return dataclasses.replace(PLAIN, name=multiply.__name__, make_linear=make, dtype=dtype)


def one_after_the_other(rows, weight):
    """In the order of the inputs, whatever the number of rows."""
    result = torch.zeros(len(rows), len(weight))
    for place in range(weight.shape[1]):
        result += rows[:, place, None] * weight[:, place]
    return result


def few_rows_in_halves(rows, weight):
    if len(rows) > 32:
        return one_after_the_other(rows, weight)
    half = weight.shape[1] // 2
    return one_after_the_other(rows[:, :half], weight[:, :half]) + one_after_the_other(rows[:, half:], weight[:, half:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("multiply", "is_exact"), [(one_after_the_other, True), (few_rows_in_halves, False)])
def test_another_order_of_adding_is_found(multiply, is_exact, dtype):
    """Rounded to bfloat16, one result in some ten thousand of ordinary numbers would differ."""
    assert rows_are_independent(kernels_of(multiply, dtype), *SIZES) is is_exact


def test_a_model_is_exact_where_all_its_layers_are():
    kernels = next(each for each in runnable() if each.name == "torch-fp32")
    model = load_model(resolve(FLEDGLING).folder, kernels)
    assert not model.is_exact  # never claimed, and not tried
    claimed = dataclasses.replace(kernels, is_exact=True)
    assert load_model(resolve(FLEDGLING).folder, claimed).is_exact is all(
        rows_are_independent(claimed, *sizes) for sizes in model.body.sizes
    ) & attention_is_independent(claimed, model.architecture)


def in_halves(self, query, keys, values, window):
    """Attention that adds up the halves of the cache: in another order beside a longer text."""
    weights = torch.softmax(query @ keys.transpose(-1, -2) + self._mask(window), -1).to(values.dtype)
    half = keys.shape[2] // 2
    return weights[..., :half] @ values[:, :, :half] + weights[..., half:] @ values[:, :, half:]


@pytest.mark.parametrize("heads", [(6, 6), (6, 2), (8, 1)])
def test_attention_in_another_order_is_found(monkeypatch, heads):
    config = {"model_type": "llama", "hidden_size": 192, "num_attention_heads": heads[0], "num_key_value_heads": heads[1]}
    of = read_architecture(
        {**config, "head_dim": 24, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}, Path("a model")
    )
    monkeypatch.setattr(StepAttention, "_attend", in_halves)
    attention_is_independent.cache_clear()
    assert not any(
        attention_is_independent(kernels, of) for kernels in runnable() if kernels.is_exact and not kernels.is_compiled
    )
    attention_is_independent.cache_clear()


def test_the_trial_leaves_the_threads_of_its_caller():
    before = torch.get_num_threads()
    rows_are_independent(kernels_of(one_after_the_other), 64, 64, False)
    assert torch.get_num_threads() == before
