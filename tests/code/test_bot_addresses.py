"""NAME, NAME@ALIAS and NAME:VERSION, as requests and commands name a version: every alias that MLflow allows is one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mynah.core.errors import InputError
from mynah.registry.versions import parse_bot
from serving.engine.errors import InvalidAddress
from serving.models.address import Address, parse
from serving.protocols.openapi import ADDRESS

# Letters, digits and marks of many scripts, the two signs that MLflow allows, and some that it does not.
CHARACTERS = st.sampled_from("abzAZ09_-éßüжあ字७_-ـ.@:/ \n\x00%²") | st.characters(codec="utf-8")


def allowed_by_mlflow(alias):
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_alias_name

    try:
        _validate_model_alias_name(alias)
    except MlflowException:
        return False
    return not alias.endswith("\n")  # which its pattern overlooks


@given(st.text(CHARACTERS, min_size=1, max_size=8) | st.integers(250, 260).map("é".__mul__))
def test_an_alias_that_mlflow_allows_is_an_address(alias):
    text = f"wren@{alias}"
    if allowed_by_mlflow(alias):
        assert parse(text) == Address("wren", alias=alias)
        assert parse_bot(text) == ("wren", alias)
        assert re.fullmatch(ADDRESS, text)
    else:
        with pytest.raises(InvalidAddress) as raised:
            parse(text)
        assert len(raised.value.message) < 900


@given(st.integers(1, 10**9 - 1))
def test_a_version_is_a_number_after_a_colon(version):
    assert parse(f"wren:{version}") == Address("wren", version=str(version))
    assert parse_bot(f"wren:{version}") == ("wren", version)


def test_a_plain_name_is_the_champion():
    assert (parse("wren"), parse_bot("wren")) == (Address("wren"), ("wren", "champion"))


@pytest.mark.parametrize(
    "text", ["", "@canary", ":3", "wren@", "wren:", "wren:x", "wren@a@b", "wren@a:1", "wren:1@a", "wren:03", "wren:00"]
)
def test_what_names_no_bot_is_refused_by_commands(text):
    with pytest.raises(InputError, match="names no bot"):
        parse_bot(text)
