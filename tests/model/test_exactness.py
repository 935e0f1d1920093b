"""The trial of exactness finds kernels whose rows depend on how many there are, also where few results show it."""

import dataclasses

import pytest
import torch

from mynah.decoding.exactness import rows_are_independent
from mynah.decoding.kernels import TABLE, runnable
from mynah.decoding.model import load_model
from mynah.models.base_models import FLEDGLING, resolve

PLAIN = next(kernels for kernels in TABLE if kernels.name == "torch-fp32")
SIZES = (384, 192, False)


def kernels_of(multiply, dtype=torch.float32):
    def make(weight, _bias, _activation):
        return (lambda rows: multiply(rows.float(), weight).to(dtype)), weight.nbytes

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
        rows_are_independent(claimed, *sizes) for sizes in model.sizes
    )


def test_the_trial_leaves_the_threads_of_its_caller():
    before = torch.get_num_threads()
    rows_are_independent(kernels_of(one_after_the_other), 64, 64, False)
    assert torch.get_num_threads() == before
