"""report.html and blind.html as files: what they say, that they add up, and that nothing an author wrote is more than words in them."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import accumulate

import pytest

from components.errors import InputError
from components.evaluate.pages import write_pages
from components.evaluate.pages.blind import at_least, how_often
from components.evaluate.pages.charts import lengths, loss_curve, round_steps, whole_steps
from components.evaluate.pages.facts import Epoch
from components.evaluate.pages.table import bar_of, figure
from components.seen import key, write_seen
from tests.code.card_inputs import column, training
from tests.code.report_inputs import METRICS, ReportInputs, check, funnel, verdict

HOSTILE = (
    '</style></p><script>document.title="owned"</script><img src=x onerror=alert(1)> \u202eevil\u202c \x07 {{ 7*7 }} '
    + "A" * 9000
)
VOID = {"meta", "br", "img", "input", "link", "hr"}
OURS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "main",
        "footer",
        "section",
        "article",
        "div",
        "span",
        "p",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "details",
        "summary",
        "b",
    ),
    *("small", "strong", "code", "q", "fieldset", "legend", "label", "input", "button"),
    *("svg", "g", "path", "line", "rect", "circle", "ellipse", "text", "clippath"),
}


class Page(HTMLParser):
    """A page's elements, attributes and words; fails where an element is not closed."""

    def __init__(self, markup):
        super().__init__()
        self.markup, self.open, self.tags, self.attributes, self.words = markup, [], [], [], []
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def pages(tmp_path, inputs=None):
    report, model, data = (inputs or ReportInputs()).write(tmp_path)
    write_pages(report, model, data)
    return tuple(Page((report / f"{name}.html").read_text("utf-8")) for name in ("report", "blind"))


def key_of(blind):
    return re.findall(r"<li value=\"\d+\">(real|generated)</li>", blind.markup)


def texts_of(blind):
    return re.findall(r'<p class="said" dir="auto">([^<]*)</p>', blind.markup)


# Each page by itself


def test_a_page_needs_nothing_but_itself_and_its_policy_names_what_it_holds(tmp_path):
    for page in pages(tmp_path):
        assert set(page.tags) <= OURS
        assert not {name for name, _ in page.attributes} & {"href", "src", "style", "srcset", "action", "xlink:href"}
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert "url(" not in page.markup.replace('clip-path="url(#disc)"', "")
        policy = next(value for _, value in page.attributes if value and value.startswith("default-src"))
        assert "unsafe" not in policy
        assert "http" not in policy
        for kind in ("style", "script"):
            for inline in re.findall(rf"<{kind}>(.*?)</{kind}>", page.markup, re.DOTALL):
                assert f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'" in policy
    assert "<script" not in pages(tmp_path)[0].markup  # the report runs none at all


def test_the_same_files_give_the_same_pages(tmp_path):
    assert pages(tmp_path)[0].markup == pages(tmp_path)[0].markup
    assert pages(tmp_path)[1].markup == pages(tmp_path)[1].markup


def test_what_an_author_wrote_is_words_and_nothing_more(tmp_path):
    inputs = ReportInputs(
        verdict=verdict(check("memorised_share", 0.5, 0.1, False, samples=[HOSTILE], reason=HOSTILE), check(HOSTILE[:99], 1, 2)),
        samples=[{"prompt": "", "texts": [HOSTILE, "\ud800 half a pair"]}, {"prompt": HOSTILE, "texts": [HOSTILE + " more"]}],
        funnel=funnel(column(HOSTILE)),
        training=training(recipe={HOSTILE: HOSTILE}, base_model={"name": HOSTILE}, device=HOSTILE),
        held_out=[HOSTILE + " real", "other"],
        metrics=METRICS | {HOSTILE: 1.0},
    )
    for page in pages(tmp_path, inputs):
        assert set(page.tags) <= OURS
        assert not [name for name, _ in page.attributes if name in ("href", "src", "style") or name.startswith("on")]
        assert page.tags.count("style") == 1
        assert not re.search(r"[\u202a-\u202e\x00-\x08\ud800-\udfff]", page.markup)
        assert "{{ 7*7 }}" in page.text  # no template of ours either
        assert "A" * 700 not in page.text  # cut
    assert pages(tmp_path, inputs)[0].markup.count("owned") > 5  # shown, not hidden


# The report


def test_a_passed_report_says_so_with_each_value_beside_its_limit_and_the_base_model(tmp_path):
    report, _ = pages(tmp_path)
    assert "Passed All 2 checks hold: it may be promoted." in report.text
    assert "What failed" not in report.text
    assert "Champion" not in report.text
    gain = re.search(r"Gain over the base model .*?to spare", report.text).group()
    assert "1.19 nats per token" in gain
    assert "at least 0.1 1.09 to spare" in gain
    assert "4.01 nats per token 5.2" in report.text  # the base model's beside it
    assert "at most 10 % 8 points to spare" in report.text
    assert "Of its author's posts, 3.1 % do." in report.text
    assert "samples with a verbatim run of at least 8 words" in report.text  # the formula
    assert "Source: Lee et al. 2022" in report.text


def test_a_failed_report_says_which_checks_failed_by_how_much_with_five_samples(tmp_path):
    texts = [f"offender {place}" for place in range(7)]
    checks = (
        check("memorised_share", 0.345, 0.1, False, samples=texts),
        check("loss_gain", -0.05, 0.1, False, at_least=True),
        check("distinct_2", 0.83, 0.35, at_least=True),
    )
    report, _ = pages(tmp_path, ReportInputs(verdict=verdict(*checks), metrics=METRICS | {"loss_gain": -0.05}))
    assert "Did not pass 2 of 3 checks failed: it may not be promoted." in report.text
    assert "Memorised is 34.5 %, and must be at most 10 %." in report.text
    assert "Gain over the base model is \N{MINUS SIGN}0.05, and must be at least 0.1." in report.text
    assert "24.5 points too high Why memorised_share. Samples that offended: offender 0 " in report.text
    assert "offender 4" in report.text
    assert "offender 5" not in report.text
    assert "0.15 too low" in report.text


def test_the_champion_is_compared_on_the_posts_that_neither_has_seen(tmp_path):
    champion = {"champion_held_out_loss": 4.2, "champion_bits_per_character": 2.0, "champion_posts": 17, "champion_gain": 0.125}
    report, _ = pages(tmp_path, ReportInputs(metrics=METRICS | champion))
    assert "Champion Against its limit" in report.text
    assert "Measured on 17 posts." in report.text
    assert "On the posts that neither it nor the champion has seen, it takes 1.875." in report.text
    assert "1.9 bits per character 2.4 2 " in report.text


def test_an_old_verdict_without_samples_is_read(tmp_path):
    check_of_old = {name: value for name, value in check("memorised_share", 0.5, 0.1, False).items() if name != "samples"}
    old = {"passed": False, "failures": ["memorised_share"], "checks": [check_of_old]}
    report, _ = pages(tmp_path, ReportInputs(verdict=old))
    assert "1 of 1 check failed" in report.text
    assert "Samples that offended" not in report.text


def test_a_verdict_without_a_check_is_no_pass(tmp_path):
    report, _ = pages(tmp_path, ReportInputs(verdict=verdict()))
    assert "Did not pass Nothing was checked" in report.text


def test_what_could_not_be_measured_and_what_nobody_defined_are_shown(tmp_path):
    checks = (check("canary_exposure", None, 10, False), check("new_metric", 3.14159, 4))
    report, _ = pages(tmp_path, ReportInputs(verdict=verdict(*checks)))
    assert "Canary exposure is not measured, and must be at most 10." in report.text
    assert "Others new metric 3.142 at most 4 0.858 to spare" in report.text


@pytest.mark.parametrize("history", [[], [{"epoch": 0, "train_loss": None, "held_out_loss": 5.2}]])
def test_a_base_model_that_was_kept_has_no_curve_and_says_why(tmp_path, history):
    report, _ = pages(tmp_path, ReportInputs(training=training(history=history, best_epoch=0)))
    assert "There is no curve to draw" in report.text
    assert "epoch</p>" not in report.markup


def test_the_funnel_adds_up_by_author_in_numbers_and_bars(tmp_path):
    authors = [column(f"bird_{place}", 100 + place, retweet=10, short=place) for place in range(7)]
    report, _ = pages(tmp_path, ReportInputs(funnel=funnel(*authors)))
    assert "Of 721 posts, 630 were kept by the rules “default”: 40 to train on, 20 held out." in report.text
    assert "3 more authors" in report.text
    for author in authors:
        section = re.search(rf"<h3 dir=\"auto\">@{author['author']}</h3>.*?</section>", report.markup, re.DOTALL).group()
        numbers = [int(number.replace("−", "-")) for number in re.findall(r'<td class="number">([−\d]+)</td>', section)]  # noqa: RUF001
        assert sum(numbers[:-1]) == numbers[-1] == author["kept"]
        widths = [float(width) for width in re.findall(r' width="([\d.]+)%" y=', section)]
        starts = [float(start) for start in re.findall(r' x="([\d.]+)%"', section)]
        assert starts[1:-1] == pytest.approx([100 - width for width in accumulate(widths[1:-1])], abs=0.02)
        assert widths[-1] == pytest.approx(starts[-2], abs=0.02)  # what is left is what is kept


def test_samples_stand_below_their_prompt_and_the_rest_is_folded(tmp_path):
    report, _ = pages(tmp_path)
    assert "From nothing A bird number 0 was heard by nobody." in report.text
    assert "“My dream is” My dream is to sing number 0." in report.text
    assert report.text.count("8 more") == 2
    assert all(f"sing number {place}." in report.text for place in range(12))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("report/metrics.json", "[1]", "metrics.json has"),
        ("report/metrics.json", '{"loss": NaN}', "metrics.json has nan at 'loss'"),
        (
            "report/verdict.json",
            '{"passed": true, "checks": []}',
            "verdict.json says True at 'passed', and its checks say otherwise",
        ),
        ("report/verdict.json", '{"passed": "yes", "checks": []}', "where true or false belongs"),
        ("report/samples.json", '{"prompt": "", "texts": []}', "samples.json has"),
        ("report/samples.json", '[{"prompt": ""}]', "samples.json has no '[0].texts'"),
        ("model/training.json", "{}", "training.json has no"),
        (
            "data/funnel.json",
            '{"rules": "default", "authors": [], "train": 1, "held_out": 1, "seed": 1}',
            "has nobody at 'authors'",
        ),
        ("data/held_out.jsonl", "", "held_out.jsonl has no texts"),
        ("data/train.jsonl", "{", "train.jsonl, line 1"),
    ],
)
def test_a_file_that_is_not_what_its_step_writes_is_named_and_no_page_is_written(tmp_path, name, content, told):
    report, model, data = ReportInputs().write(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(told)):
        write_pages(report, model, data)
    assert not list(report.glob("*.html"))


def test_a_funnel_that_does_not_add_up_is_refused(tmp_path):
    report, model, data = ReportInputs(funnel=funnel(column("wren") | {"kept": 1})).write(tmp_path)
    with pytest.raises(InputError, match=r"doesn't add up at 'authors\[0\]'"):
        write_pages(report, model, data)


# The blind sheet


def test_the_sheet_has_ten_of_each_and_the_key_knows_which(tmp_path):
    inputs = ReportInputs()
    _, blind = pages(tmp_path, inputs)
    texts, key = texts_of(blind), key_of(blind)
    assert len(texts) == len(set(texts)) == len(key) == 20
    assert {text for text, kind in zip(texts, key, strict=True) if kind == "real"} <= set(inputs.held_out)
    assert {text for text, kind in zip(texts, key, strict=True) if kind == "generated"} <= set(inputs.samples[0]["texts"])
    assert key.count("real") == 10
    assert key not in (sorted(key), sorted(key, reverse=True))  # shuffled
    assert "15 or more come so in 2 % of tries" in blind.text
    (details,) = re.findall(r"<details(.*?)>", blind.markup)
    assert "open" not in details  # hidden until somebody asks
    assert not re.search(
        r"(?i)real|generated", re.sub(r"<label>.*?</label>", "", blind.markup.split("<ol")[1])
    )  # nor in an attribute


def test_other_data_give_another_order(tmp_path):
    _, first = pages(tmp_path)
    _, second = pages(tmp_path, ReportInputs(training=training(data_digest="01" * 32)))
    assert texts_of(first) != texts_of(second)


def test_a_copy_of_a_post_and_a_text_twice_are_not_on_the_sheet(tmp_path):
    long = "this long sentence of the author has more than eight words and fifty characters"
    copies = ["Short and SWEET", f"well {long} indeed", "That is the other post 3 of a person."]
    inputs = ReportInputs(
        train=["Short and sweet.", long, *ReportInputs().train],
        samples=[{"prompt": "", "texts": [*copies, "I am new", "I am new!", "so am I"]}],
    )
    _, blind = pages(tmp_path, inputs)
    made = {text for text, kind in zip(texts_of(blind), key_of(blind), strict=True) if kind == "generated"}
    assert made == {"I am new!", "so am I"}
    assert len(texts_of(blind)) == 4


def test_posts_that_a_continued_bot_knows_from_before_are_not_on_the_sheet(tmp_path):
    inputs = ReportInputs()
    report, model, data = inputs.write(tmp_path)
    write_seen(model, [key(text) for text in inputs.held_out[:17]])
    write_pages(report, model, data)
    blind = Page((report / "blind.html").read_text("utf-8"))
    assert {text for text, kind in zip(texts_of(blind), key_of(blind), strict=True) if kind == "real"} == set(
        inputs.held_out[17:]
    )


def test_without_samples_from_nothing_there_is_no_sheet_and_a_reason(tmp_path):
    report, blind = pages(tmp_path, ReportInputs(samples=[{"prompt": "My dream is", "texts": ["My dream is to."]}]))
    assert "There is no sheet" in blind.text
    assert "<script" not in blind.markup
    assert "half of its texts, at most" in report.text
    report, _ = pages(tmp_path, ReportInputs(samples=[]))
    assert "Nothing was generated." in report.text
    assert "There are no samples to compare." in report.text


# What is computed


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
    history = [Epoch(0, None, 5.0), Epoch(1, 4.5, 4.0), Epoch(2, 4.0, 4.2)]
    curve = loss_curve(history, 1)
    assert [tick.label for tick in curve.epochs] == ["0", "1", "2"]
    assert (len(curve.held_out), len(curve.training)) == (2, 1)  # no training loss before training
    assert (curve.kept.x, curve.kept.y) == (50, max(dot.y for dot in curve.held_out_dots))  # the lowest loss, the farthest down
    assert loss_curve(history, 9).kept is None
    (flat,) = loss_curve([Epoch(0, None, 5.0), Epoch(1, None, 5.0)], 0).held_out
    assert flat.y1 == flat.y2


def test_lengths_are_shares_of_each_with_the_longest_in_the_last_bar():
    found = lengths(["x" * 10] * 9 + ["x" * 500], ["y" * 30] * 98 + ["y" * 8000] * 2)
    assert (found.median_of_samples, found.median_of_posts) == (10, 30)
    assert sum(tall for _, tall in found.bars) == pytest.approx(220 / (float(found.shares[-1].label.split()[0]) / 100))
    assert len(found.bars) <= 29
    assert lengths([], ["a"]) is None
