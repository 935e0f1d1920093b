"""The sheet of the blind test: what is on it, in which order, and what its key knows."""

import re

from components.evaluate.report_html.pages import write_pages
from mynah.data.text_digests import key, write_seen
from tests.code.card_inputs import training
from tests.code.report_inputs import ReportInputs
from tests.code.report_page import Page, key_of, pages, texts_of


def test_the_sheet_has_ten_of_each_and_the_key_knows_which(tmp_path):
    inputs = ReportInputs()
    _, blind = pages(tmp_path, inputs)
    texts, key = texts_of(blind), key_of(blind)
    assert len(texts) == len(set(texts)) == len(key) == 20
    assert {text for text, kind in zip(texts, key, strict=True) if kind == "real"} <= set(inputs.held_out)
    assert {text for text, kind in zip(texts, key, strict=True) if kind == "generated"} <= set(inputs.samples[0]["texts"])
    assert key.count("real") == 10
    assert key not in (sorted(key), sorted(key, reverse=True))  # shuffled
    assert "15 or more happen in 2 % of tries" in blind.text
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
    assert "There is no test" in blind.text
    assert "<script" not in blind.markup
    assert "half of its texts, at most" in report.text
    report, _ = pages(tmp_path, ReportInputs(samples=[]))
    assert "Nothing was generated." in report.text
    assert "There are no samples to compare." in report.text
