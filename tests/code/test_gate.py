"""The gate and the metrics that need no model: what cannot be measured never passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import InputError
from components.evaluate import sample_metrics
from components.evaluate.gate import Threshold, Verdict, judge, read_gate
from components.evaluate.metrics import Memory, distinct
from components.files import write_json

POST = "the quick brown fox jumps over the lazy dog while seven grey geese fly south for the winter"


def test_the_gate_file_has_a_reason_for_each_threshold():
    gate = read_gate()
    assert {threshold.metric for threshold in gate} == {"loss_gain", "bits_per_character", "distinct_2", "memorised_share"}
    assert all(len(threshold.reason) > 20 for threshold in gate)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no thresholds"),
        ("- 1", "no thresholds"),
        ("a: [", "cannot be read"),
        ("loss: {at_least: 1}", "loss is not a threshold"),
        ("loss: {at_least: 1, at_most: 2, reason: x}", "loss is not a threshold"),
        ("loss: {at_least: high, reason: x}", "loss is not a threshold"),
        ("loss: {at_least: .nan, reason: x}", "loss is not a threshold"),
        ("loss: {at_least: true, reason: x}", "loss is not a threshold"),
        ("loss: {atleast: 1, reason: x}", "loss is not a threshold"),
        ("loss: {at_least: .inf, reason: x}", "loss is not a threshold"),
        (f"loss: {{at_least: {'9' * 400}, reason: x}}", "loss is not a threshold"),
        ("loss: {at_least: 2001-13-01, reason: x}", "cannot be read"),
    ],
)
def test_a_broken_gate_file_is_refused(tmp_path, text, said):
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_gate(tmp_path / "gate.yaml")


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_a_threshold_holds_on_its_side(value, limit, at_least):
    verdict = judge({"m": value}, [Threshold("m", limit, at_least, "why")])
    assert verdict.passed == (value >= limit if at_least else value <= limit)
    assert [check.metric for check in verdict.failures] == ([] if verdict.passed else ["m"])


def test_what_was_not_measured_never_passes():
    gate = [Threshold("m", 1.0, True, "why")]
    with pytest.raises(InputError, match="'m', which is not measured"):
        judge({"other": 2.0}, gate)
    with pytest.raises(InputError, match="'m', which is not a number"):
        judge({"m": math.nan}, gate)
    with pytest.raises(InputError, match="'m', which is not a number"):
        judge({"m": math.inf}, gate)
    assert not Verdict([]).passed


def test_a_verdict_survives_its_file(tmp_path):
    verdict = judge({"m": 0.5, "n": 3.0}, [Threshold("m", 1.0, True, "why"), Threshold("n", 4.0, False, "for")])
    write_json(tmp_path / "verdict.json", verdict.to_record())
    assert Verdict.read(tmp_path) == verdict
    assert str(verdict.failures[0]) == "m is 0.5, and must be at least 1: why"


@pytest.mark.parametrize("record", [[], {}, {"checks": [1]}, {"checks": [{"metric": "m"}]}])
def test_what_is_no_verdict_is_refused(tmp_path, record):
    write_json(tmp_path / "verdict.json", record)
    with pytest.raises(InputError, match="is not a verdict"):
        Verdict.read(tmp_path)


def test_distinct_by_hand():
    assert distinct(["a b a b"], 1) == 2 / 4
    assert distinct(["a b a b"], 2) == 2 / 3  # ab, ba, ab
    assert distinct(["A, b!", "a b"], 2) == 1 / 2
    assert distinct(["one"], 2) == 0.0


def test_a_planted_copy_is_found_and_a_near_miss_is_not():
    memory = Memory([POST, "something else entirely that is long enough to have its own run of words"])
    copied = "He said: The quick brown fox, jumps over the lazy dog while nothing happened"
    assert " ".join(memory.longest_run(copied)) == "the quick brown fox jumps over the lazy dog while"
    assert not memory.memorised(copied[:52])  # eight words, but fewer than 50 characters
    assert memory.memorised("so " + POST)
    assert memory.longest_run("quick brown fox jumps over the lazy cat") == []  # seven words


def test_two_copies_apart_do_not_make_one_run():
    words = POST.split()
    text = " ".join([*words[:9], "but", *words[5:15]])
    assert Memory([POST]).longest_run(text) == words[5:15]


def test_sample_metrics():
    found = sample_metrics([POST, "all new words here and nothing copied from anybody"], [POST])
    assert found["memorised_share"] == 0.5
    assert found["longest_verbatim_words"] == len(POST.split())
    assert found["samples"] == 2


def test_a_copy_is_found_beside_a_longer_run_of_short_words():
    chant = "a b c d e f g h i j k l"  # twelve words and 23 characters: a run, and no copy
    assert not Memory([chant, POST]).memorised(chant)
    assert Memory([chant, POST]).memorised(f"{chant} and {' '.join(POST.split()[:11])} fifty characters")


def test_runs_do_not_reach_from_one_post_into_the_next():
    words = POST.split()
    memory = Memory([" ".join(words[:7]), " ".join(words[7:14])])
    assert memory.longest_run(POST) == []
