"""report.html and blind.html as files: what they say, and that nothing an author wrote is more than words in them."""

import base64
import hashlib
import re
from itertools import accumulate

import pytest

from components.evaluate.report_html.pages import write_pages
from mynah.core.errors import InputError
from tests.code.card_inputs import column, training
from tests.code.report_inputs import METRICS, ReportInputs, check, funnel, verdict
from tests.code.report_page import pages

HOSTILE = (
    '</style></p><script>document.title="owned"</script><img src=x onerror=alert(1)> \u202eevil\u202c \x07 {{ 7*7 }} '
    + "A" * 9000
)
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
        training=training(recipe={HOSTILE: HOSTILE}, base_model={"name": HOSTILE, "digest": HOSTILE}, device=HOSTILE),
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
    assert "24.5 points too high Why memorised_share. Samples that count against it: offender 0 " in report.text
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
    assert "Samples that count against it" not in report.text


def test_a_verdict_without_a_check_is_no_pass(tmp_path):
    report, _ = pages(tmp_path, ReportInputs(verdict=verdict()))
    assert "Did not pass No checks were made" in report.text


def test_what_could_not_be_measured_and_what_nobody_defined_are_shown(tmp_path):
    checks = (check("canary_exposure", None, 10, False), check("new_metric", 3.14159, 4))
    report, _ = pages(tmp_path, ReportInputs(verdict=verdict(*checks)))
    assert "Canary exposure is not measured, and must be at most 10." in report.text
    assert "Others new metric 3.142 at most 4 0.858 to spare" in report.text


@pytest.mark.parametrize("history", [[], [{"epoch": 0, "train_loss": None, "held_out_loss": 5.2}]])
def test_a_base_model_that_was_kept_has_no_curve_and_says_why(tmp_path, history):
    report, _ = pages(tmp_path, ReportInputs(training=training(history=history, best_epoch=0)))
    assert "There is no curve" in report.text
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
    assert "Without a prompt A bird number 0 was heard by nobody." in report.text
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
