"""The metrics that need no model, each with values known by hand, and the rules that hold for all texts."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluate.gate import read_gate
from components.evaluate.profanity import is_profane, profanity_share
from components.evaluate.sample_metrics import measure_texts
from components.evaluate.samples import Samples, counts_by_prompt
from components.evaluate.style_classifier import style_auc
from components.evaluate.text_metrics import Memory, distinct, length_ks, repeated_samples
from mynah.models.metric_definitions import METRICS

POST = "the quick brown fox jumps over the lazy dog while seven grey geese fly south for the winter"
DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"
texts = st.lists(st.text(max_size=60), min_size=1, max_size=12)


def samples(**groups):
    return Samples({"": groups.pop("nothing"), **groups}, tokens=100, seconds=2.0)


def test_distinct_by_hand():
    assert distinct(["a b a b"], 1) == 2 / 4
    assert distinct(["a b a b"], 2) == 2 / 3  # ab, ba, ab
    assert distinct(["A, b!", "a b"], 2) == 1 / 2
    assert distinct(["one"], 2) == 0.0


def test_self_repetition_by_hand():
    pairs = [("", "one two three four five"), ("", "so One, two three FOUR"), ("", "two three four six"), ("", "")]
    assert repeated_samples(pairs) == [pairs[0][1], pairs[1][1]]
    assert repeated_samples([("", "a b c d a b c d")]) == []  # another sample must say it


def test_a_prompts_own_words_are_no_repetition():
    prompt = "my favourite thing is"
    pairs = [(prompt, f"{prompt} the sea at night"), (prompt, f"{prompt} a cup of tea")]
    assert repeated_samples(pairs) == []
    assert len(repeated_samples([("", text) for _, text in pairs])) == 2
    assert repeated_samples([*pairs, ("", "oh the sea at night")]) == [pairs[0][1], "oh the sea at night"]


def test_what_is_said_most_comes_first():
    pairs = [("", f"a b c d {word}") for word in ("x", "y")] + [("", f"e f g h {word}") for word in ("x", "y", "z")]
    assert [text[0] for text in repeated_samples(pairs)] == ["e", "e", "e", "a", "a"]


def test_the_distance_of_lengths_by_hand():
    assert length_ks(["a", "bb"], ["x", "yy"]) == 0
    assert length_ks(["a", "b"], ["xxx"]) == 1
    assert length_ks(["a", "aaa"], ["aa", "aaaa"]) == 0.5
    assert length_ks(["a", "a", "a", "aa"], ["a", "aa", "aa", "aa"]) == 0.5


@given(texts, texts)
def test_the_distance_of_lengths_is_the_largest_gap(ours, theirs):
    def share(posts, most):
        return sum(len(post) <= most for post in posts) / len(posts)

    found = length_ks(ours, theirs)
    assert found == pytest.approx(max(abs(share(ours, most) - share(theirs, most)) for most in range(61)))
    assert found == pytest.approx(length_ks(theirs, ours))
    assert length_ks(ours, ours) == 0


@pytest.mark.slow
@settings(max_examples=30)
@given(texts)
def test_shares_are_shares_whatever_is_sampled(written):
    found, offenders = measure_texts(samples(nothing=written), [POST, "another post"], ["held out", "and another one"], 1)
    for name in (
        "distinct_1",
        "distinct_2",
        "self_repetition",
        "length_ks",
        "memorised_share",
        "leaked_share",
        "profanity_share",
    ):
        assert 0 <= found[name] <= 1, name
    assert all(map(math.isfinite, found.values()))
    assert set(found) <= set(METRICS)
    assert set(offenders) <= set(METRICS)
    assert all(text in written for each in offenders.values() for text in each)


@pytest.mark.slow
@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_samples_says_nothing(rng):
    written = [POST, POST[:70], "shit happens", "seven grey geese fly away", "call +44 20 7946 0958", "x"]
    shuffled = rng.sample(written, len(written))
    first, second = (
        measure_texts(samples(nothing=each), [POST, "tel +44 20 7946 0958"], ["y"], 1)[0] for each in (written, shuffled)
    )
    first.pop("style_auc"), second.pop("style_auc")  # its folds are drawn by place
    assert first == second


def words(rng, count, vocabulary):
    return [" ".join(rng.choice(vocabulary) for _ in range(12)) for _ in range(count)]


def test_style_is_by_chance_for_the_same_and_certain_for_another():
    import random

    rng = random.Random(3)
    birds, ships = ["wren", "lark", "finch", "robin", "swift", "crane"], ["sloop", "ketch", "yawl", "brig", "cutter", "junk"]
    memory = Memory([])
    same = style_auc(words(rng, 100, birds), words(rng, 200, birds), [], memory, 1)
    assert 0.5 <= same < 0.65
    assert style_auc(words(rng, 100, ships), words(rng, 200, birds), [], memory, 1) == 1.0
    half = style_auc(words(rng, 50, ships) + words(rng, 50, birds), words(rng, 200, birds), [], memory, 1)
    assert 0.6 < half < 0.95


def test_a_copy_never_looks_real():
    """A bot that only recites its author has its author's style, and gets nothing for it."""
    import random

    rng = random.Random(3)
    birds = ["wren", "lark", "finch", "robin", "swift", "crane", "goldfinch", "nightingale"]
    train, held_out, written = words(rng, 300, birds), words(rng, 100, birds), words(rng, 50, birds)
    memory = Memory(train)
    assert style_auc(train[:100], held_out, train, memory, 1) == 1.0
    fair = style_auc(written, held_out, train, memory, 1)
    assert style_auc([*written, *train[:50]], held_out, train, memory, 1) == pytest.approx(0.5 + 0.5 * fair)


def test_style_of_few_posts():
    memory = Memory([])
    assert style_auc(["one"], ["two", "three"], ["four"], memory, 1) is None
    assert style_auc(["one", "two"], ["three"], [], memory, 1) is None
    train = [f"post {number} of the author" for number in range(200)]
    assert style_auc(["zzz", "yyy"], ["post 0 of the author"], train, memory, 1) == 1.0  # filled up with training posts
    assert style_auc(["zzz", "yyy"], ["a"], train, memory, 1) == style_auc(["zzz", "yyy"], ["a"], train, memory, 1)


@pytest.mark.parametrize(
    "text",
    ["Damn!", "what the FUCK", "sh1t happens", "a$$hole", "b!tch", "fuuuuuck", "so fucking good", "Scheiße", "putain de merde"],
)
def test_profane(text):
    assert is_profane(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Dickens wrote",
        "Scunthorpe",
        "class assessment",
        "a shiitake soup",
        "Moby-Dick",
        "1455",
        "cum laude",
        "cockatoo",
        "!!",
    ],
)
def test_not_profane(text):
    assert not is_profane(text)


def test_profanity_is_measured_against_the_authors():
    found, offenders = measure_texts(
        samples(nothing=["oh shit", "fine", "well", "good"]), ["damn it", "a", "b", "c"], ["x", "y"], 1
    )
    assert (found["profanity_share"], found["author_profanity_share"], found["profanity_excess"]) == (0.25, 0.25, 0.0)
    assert offenders["profanity_excess"] == ["oh shit"]
    assert profanity_share([]) == 0


def test_only_what_stands_in_a_post_is_leaked():
    written = ["call me: +44 20 7946 0958", "or +44 (20) 7946-0958", "ann@example.org", "nothing"]
    found, offenders = measure_texts(samples(nothing=written), ["my number is +442079460958", "b"], ["x", "y"], 1)
    assert (found["personal_share"], found["leaked_share"]) == (0.75, 0.5)
    assert offenders["leaked_share"] == written[:2]


def test_personal_data_is_counted_as_the_filter_masks_it():
    written = ["on (415)\u00a0555\u20112671 now", "it is 2a00:1450::200e", "[phone] or [mail]", "nothing"]
    found, offenders = measure_texts(samples(nothing=written), ["(415) 555-2671", "b"], ["x", "y"], 1)
    assert (found["personal_share"], found["leaked_share"]) == (0.5, 0.25)
    assert offenders["personal_share"] == written[:2]


def test_a_planted_copy_is_found_and_a_near_miss_is_not():
    memory = Memory([POST, "something else entirely that is long enough to have its own run of words"])
    copied = "He said: The quick brown fox, jumps over the lazy dog while nothing happened"
    assert " ".join(memory.longest_run(copied)) == "the quick brown fox jumps over the lazy dog while"
    assert not memory.memorised(copied[:52])  # eight words, but fewer than 50 characters
    assert memory.memorised("so " + POST)
    assert memory.longest_run("quick brown fox jumps over the lazy cat") == []  # seven words


def test_two_copies_apart_do_not_make_one_run():
    tokens = POST.split()
    text = " ".join([*tokens[:9], "but", *tokens[5:15]])
    assert Memory([POST]).longest_run(text) == tokens[5:15]


def test_a_copy_is_found_beside_a_longer_run_of_short_words():
    chant = "a b c d e f g h i j k l"  # twelve words and 23 characters: a run, and no copy
    assert not Memory([chant, POST]).memorised(chant)
    assert Memory([chant, POST]).memorised(f"{chant} and {' '.join(POST.split()[:11])} fifty characters")


def test_runs_do_not_reach_from_one_post_into_the_next():
    tokens = POST.split()
    memory = Memory([" ".join(tokens[:7]), " ".join(tokens[7:14])])
    assert memory.longest_run(POST) == []


def test_all_metrics_of_samples_by_hand():
    found, offenders = measure_texts(
        Samples({"": [POST, "all new words here"], "I like": ["I like all of it"]}, tokens=60, seconds=2.0),
        [POST], ["held out", "and more"], 1,
    )  # fmt: skip
    assert found["memorised_share"] == pytest.approx(1 / 3)
    assert found["longest_verbatim_words"] == len(POST.split())
    assert (found["samples"], found["answers_per_second"], found["sample_tokens_per_second"]) == (3, 1.5, 30)
    assert offenders["memorised_share"] == offenders["longest_verbatim_words"] == [POST]


@given(st.integers(5, 200))
def test_half_of_the_samples_come_from_nothing(count):
    found = counts_by_prompt(count)
    assert sum(found.values()) == count
    assert found[""] == count - count // 2
    assert max(list(found.values())[1:]) - min(list(found.values())[1:]) <= 1


def test_the_document_says_what_the_definitions_say():
    said = DOCS.read_text()
    for name, each in METRICS.items():
        assert f"| `{name}` | {each.label} | {each.unit} | {each.formula} | {each.source} |" in said, name
    for line in read_gate():
        assert f"| `{line.metric}` | at {'least' if line.at_least else 'most'} {line.limit:g} | " in said, line.metric


def test_every_metric_is_defined_in_full():
    for name, each in METRICS.items():
        assert all((each.label, each.unit, each.formula, each.source)), name
        assert each.better in ("", "lower", "higher")
    assert {line.metric for line in read_gate()} <= set(METRICS)


def test_the_reports_markdown_holds_no_markup_of_the_author():
    from components.evaluate.gate import Threshold, judge
    from components.evaluate.report_markdown import report

    nasty = "<script>alert(1)</script> [link](http://evil.example) ![x](y) | cell\n# heading @everyone"
    verdict = judge({"leaked_share": 1.0}, [Threshold("leaked_share", 0.0, False, "why")], {"leaked_share": [nasty, ""]})
    said = report({"leaked_share": 1.0}, verdict)
    assert "<script" not in said
    assert "](" not in said
    assert "\n# heading" not in said
    assert "**FAIL**: leaked&#95;share is 1" in said
    assert "(nothing)" in said
