"""Quantities of Kubernetes, as nodes and pods write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mynah.kubernetes.quantities import amount, mebibytes


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("4", 4), ("3920m", "3.92"), ("0.5", "0.5"), ("1Gi", 1 << 30), ("16393244Ki", 16393244 << 10), ("1536Mi", 1536 << 20), ("2G", 2 * 10**9),
        ("1e3", 1000), ("128974848", 128974848), ("100n", "1e-7"), (8, 8),
    ],
)  # fmt: skip
def test_a_quantity_is_a_number(written, number):
    assert amount(written) == Decimal(number)


@pytest.mark.parametrize("written", ["", "Gi", "1Xi", "1 Gi", "four", None, "1GiB"])
def test_anything_else_is_none(written):
    with pytest.raises(ValueError, match="is no quantity"):
        amount(written)


@given(st.integers(1, 1 << 42))
def test_memory_is_rounded_up_by_less_than_a_step(bytes_):
    assert 0 <= amount(mebibytes(bytes_)) - bytes_ < 128 << 20


@given(st.integers(0, 10**9))
def test_units_agree(number):
    assert amount(f"{number * 1000}m") == amount(number) == amount(f"{number * 1000}n") * 10**6
