"""The gate: what cannot be measured never passes, and a verdict says which samples it was missed for."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluate.gate import Threshold, judge, read_gate
from components.evaluate.report_markdown import report
from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.models.verdict import Verdict

GATED = {
    "loss_gain", "bits_per_character", "distinct_2", "self_repetition", "length_ks", "style_auc", "memorised_share",
    "longest_verbatim_words", "canary_exposure", "leaked_share", "profanity_excess", "made_up_excess", "unreadable_share",
    "word_order_share",
}  # fmt: skip


def test_the_gate_file_has_a_reason_for_each_threshold():
    gate = read_gate()
    assert {threshold.metric for threshold in gate} == GATED
    assert all(len(threshold.reason) > 20 for threshold in gate)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no thresholds"),
        ("- 1", "no thresholds"),
        ("a: [", "cannot be read"),
        ("loss_gain: {at_least: 1}", "loss_gain is not a threshold"),
        ("loss_gain: {at_least: 1, at_most: 2, reason: x}", "loss_gain is not a threshold"),
        ("loss_gain: {at_least: high, reason: x}", "loss_gain is not a threshold"),
        ("loss_gain: {at_least: .nan, reason: x}", "loss_gain is not a threshold"),
        ("loss_gain: {at_least: true, reason: x}", "loss_gain is not a threshold"),
        ("loss_gain: {atleast: 1, reason: x}", "loss_gain is not a threshold"),
        ("loss_gain: {at_least: .inf, reason: x}", "loss_gain is not a threshold"),
        (f"loss_gain: {{at_least: {'9' * 400}, reason: x}}", "loss_gain is not a threshold"),
        ("loss_gain: {at_least: 2001-13-01, reason: x}", "cannot be read"),
        ("memorized_share: {at_most: 0, reason: x}", "no metric 'memorized_share'\nDid you mean 'memorised_share'"),
        ("1: {at_most: 0, reason: x}", "no metric '1'\nUse one of: held_out_loss"),
        (
            "loss_gain: {at_least: 1, reason: x}\nloss_gain: {at_least: 0, reason: x}",
            "'loss_gain' is a duplicate key(.|\n)*line 2",
        ),
        ("loss_gain: {at_least: 1, at_least: 0, reason: x}", "'at_least' is a duplicate key"),
        ("[a]: 1\n[a]: 1", "cannot be read"),
        ("!!python/object/apply:os.system [true]", "cannot be read"),
    ],
)
def test_a_broken_gate_file_is_refused(tmp_path, text, said):
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_gate(tmp_path / "gate.yaml")


def test_a_gate_file_may_use_yamls_anchors(tmp_path):
    (tmp_path / "gate.yaml").write_text("loss_gain: &a {at_least: 1, reason: x}\ndistinct_1: *a\n")
    assert read_gate(tmp_path / "gate.yaml") == [Threshold("loss_gain", 1, True, "x"), Threshold("distinct_1", 1, True, "x")]


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


def test_what_these_posts_have_no_measure_of_is_left_out_and_said(tmp_path):
    gate = [Threshold("m", 1.0, True, "why"), Threshold("n", 4.0, False, "for")]
    verdict = judge({"m": 2.0}, gate, left_out={"n": "there is no list of words for th", "other": "not in the gate"})
    assert verdict.passed
    assert verdict.left_out == {"n": "there is no list of words for th"}
    verdict.write(tmp_path)
    assert Verdict.read(tmp_path) == verdict
    assert "- left out: n: there is no list of words for th" in report({}, verdict)
    assert not judge({}, gate[1:], left_out={"n": "no list"}).passed  # a gate that asks nothing lets nothing through


def test_a_model_without_canaries_is_to_be_trained_again():
    with pytest.raises(InputError, match=r"'canary_exposure', which is not measured\n.*train the model again"):
        judge({"loss_gain": 2.0}, [Threshold("canary_exposure", 8.0, False, "why")])


def test_a_verdict_survives_its_file(tmp_path):
    gate = [Threshold("m", 1.0, True, "why"), Threshold("n", 4.0, False, "for")]
    verdict = judge({"m": 0.5, "n": 3.0}, gate, {"m": ["one", "two"], "n": ["never shown"]})
    write_json(tmp_path / "verdict.json", verdict.to_record())
    assert Verdict.read(tmp_path) == verdict
    assert str(verdict.failures[0]) == "m is 0.5, and must be at least 1: why"
    failed = {
        "metric": "m",
        "value": 0.5,
        "limit": 1.0,
        "at_least": True,
        "passed": False,
        "reason": "why",
        "samples": ["one", "two"],
    }
    record = json.loads((tmp_path / "verdict.json").read_text())
    assert (record["passed"], record["failures"], record["checks"][0]) == (False, [failed], failed)
    assert record["checks"][1]["samples"] == []


def test_a_failed_check_shows_five_samples_at_most():
    verdict = judge({"m": 0.5}, [Threshold("m", 1.0, True, "why")], {"m": list("abcdefgh")})
    assert verdict.failures[0].samples == ("a", "b", "c", "d", "e")


def test_a_verdict_of_before_samples_is_still_read(tmp_path):
    check = {"metric": "m", "value": 1.0, "limit": 2.0, "at_least": True, "passed": False, "reason": "why"}
    write_json(tmp_path / "verdict.json", {"passed": False, "failures": ["m"], "checks": [check]})
    assert [(each.metric, each.samples) for each in Verdict.read(tmp_path).failures] == [("m", ())]


CHECK = {"metric": "m", "value": 1.0, "limit": 2.0, "at_least": True, "passed": True, "reason": "why"}


@pytest.mark.parametrize(
    "record",
    [
        [], {}, {"checks": [1]}, {"checks": [{"metric": "m"}]}, {"checks": [[]]},
        {"passed": True, "checks": [{**CHECK, "samples": "abc"}]}, {"passed": True, "checks": [{**CHECK, "samples": [1]}]},
        {"passed": False, "checks": [CHECK]}, {"passed": True, "checks": []}, {"passed": True, "checks": [{**CHECK, "more": 1}]},
    ],
)  # fmt: skip
def test_what_is_no_verdict_is_refused(tmp_path, record):
    write_json(tmp_path / "verdict.json", record)
    with pytest.raises(InputError, match="is not a verdict"):
        Verdict.read(tmp_path)
