"""The report's numbers, bars and axes as people read them."""

import pytest

from components.evaluate.report_html.blind_test import at_least, how_often
from components.evaluate.report_html.charts import lengths, loss_curve, round_steps, whole_steps
from components.evaluate.report_html.metric_table import bar_of, figure
from mynah.training.training_record import EpochLosses


def test_chance_is_the_binomial_tail():
    assert at_least(15, 20) == 21700 / 2**20  # 15504 + 4845 + 1140 + 190 + 20 + 1
    assert at_least(0, 20) == 1
    assert [how_often(chance) for chance in (0.0207, 0.0059, 2**-20)] == [
        "in 2 % of tries", "in 0.6 % of tries", "once in 1,000,000 tries",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [("memorised_share", 0, "0 %"), ("memorised_share", 0.345, "34.5 %"), ("held_out_posts", 1350.0, "1,350"), ("held_out_loss", 4.5966, "4.597"),
     ("perplexity", 181.34, "181.3"), ("loss_gain", -0.004, "\N{MINUS SIGN}0.004"), ("leaked_share", 0.0002, "0.02 %"), ("loss_gain", 0.0, "0"),
     ("unknown", 12345.6, "12,346"), ("loss_gain", None, "not measured")],
)  # fmt: skip
def test_values_are_rounded_for_people(metric, value, shown):
    assert figure(metric, value) == shown


@pytest.mark.parametrize(
    ("metric", "value", "limit"),
    [
        ("loss_gain", -3.0, 0.1),
        ("leaked_share", 0, 0),
        ("style_auc", 0.48, 0.95),
        ("profanity_excess", -0.2, 0.1),
        ("memorised_share", 1, 0.1),
    ],
)
def test_a_bar_stays_on_its_track(metric, value, limit):
    bar = bar_of(metric, value, limit)
    assert 0 <= bar.start <= bar.start + bar.width <= 100.001
    assert 0 <= bar.limit <= 100


def test_axes_have_few_round_numbers_and_whole_epochs():
    assert round_steps(3.5, 5.26) == [3.5, 4.0, 4.5, 5.0, 5.5]
    assert round_steps(0.0, 0.0)[-1] > 0
    assert whole_steps(0, 4) == [0, 1, 2, 3, 4]
    assert whole_steps(0, 200) == [0, 50, 100, 150, 200]
    for last in range(1, 400):
        assert 2 <= len(whole_steps(0, last)) <= 9


def test_the_curve_has_a_place_for_each_epoch_and_marks_the_kept_one():
    history = [EpochLosses(0, None, 5.0), EpochLosses(1, 4.5, 4.0), EpochLosses(2, 4.0, 4.2)]
    curve = loss_curve(history, 1)
    assert [tick.label for tick in curve.epochs] == ["0", "1", "2"]
    assert (len(curve.held_out), len(curve.training)) == (2, 1)  # no training loss before training
    assert (curve.kept.x, curve.kept.y) == (50, max(dot.y for dot in curve.held_out_dots))  # the lowest loss, the farthest down
    assert loss_curve(history, 9).kept is None
    (flat,) = loss_curve([EpochLosses(0, None, 5.0), EpochLosses(1, None, 5.0)], 0).held_out
    assert flat.y1 == flat.y2


def test_lengths_are_shares_of_each_with_the_longest_in_the_last_bar():
    found = lengths(["x" * 10] * 9 + ["x" * 500], ["y" * 30] * 98 + ["y" * 8000] * 2)
    assert (found.median_of_samples, found.median_of_posts) == (10, 30)
    assert sum(tall for _, tall in found.bars) == pytest.approx(220 / (float(found.shares[-1].label.split()[0]) / 100))
    assert len(found.bars) <= 29
    assert lengths([], ["a"]) is None
