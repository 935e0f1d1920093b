"""The language of a post: the detector, the platform's word, and which languages stay."""

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.fetch.step import fetch
from components.filter.language import are_kin, detect_language, language_of, main_language
from components.filter.language_codes import KNOWN, declared_language
from components.filter.rules import Dropped, KeptPost, rule_for
from components.filter.step import FilterSettings, filter_posts
from mynah.data.posts import Kind
from tests.code.filter_inputs import lines, many, post, raw_folder

GERMAN, ENGLISH = "Heute war wirklich ein langer Tag im Büro", "It was a very long day at the office"
GREEK = [
    " ".join(parts)
    for parts in itertools.product(
        ["Σήμερα το πρωί", "Χθες το βράδυ", "Την Κυριακή", "Πέρσι", "Κάθε μέρα", "Πριν από λίγο"],
        ["πήγα στη θάλασσα", "διάβασα ένα βιβλίο", "μαγείρεψα φακές", "είδα μια ταινία", "περπάτησα στο πάρκο"],
        ["και ήταν υπέροχα", "με τους φίλους μου", "αλλά έβρεχε πολύ", "γιατί βαριόμουν στο σπίτι", "μέχρι αργά"],
    )
]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Heute war wirklich ein langer Tag im Büro", "de"), ("I do not think that this will end well for us", "en"),
        ("Quelqu'un connaît un bon resto près de Lyon ?", "fr"), ("Alguien sabe dónde puedo comprar pan por aquí", "es"),
        ("今日はとても寒いですね、早く帰りたい", "ja"), ("Сегодня очень холодно на улице", "ru"),
        ("आज बहुत ठंड है, जल्दी घर जाना चाहता हूँ", "hi"), ("আজ খুব ঠান্ডা লাগছে বাড়ি যেতে চাই", "bn"),
        ("Thank you so much!", ""), ("😀😀😀 #winning @bob https://t.co/x", ""), ("", ""), ("\ud83d" * 30, ""), ("lol\n" * 3, ""),
        ("[mail] [phone] [account] [number] [card] [ip]", ""),
    ],
)  # fmt: skip
def test_the_detector(text, language):
    assert detect_language(text) == language


def test_the_detector_reads_the_whole_text():
    greeting = "Good morning to everybody out there, I hope that you slept well and had a good coffee. "
    assert detect_language(greeting + " ".join([GERMAN] * 20)) == "de"


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("en", "en"),
        ("pt-BR", "pt"),
        ("zh_Hant", "zh"),
        ("iw", "he"),
        ("in", "id"),
        ("EN", "en"),
        ("fil", "tl"),
        ("en_GB", "en"),
        (" en ", "en"),
        ("en_US.UTF-8", "en"),
        ("ast", "ast"),
        ("nn-NO", "no"),
    ],
)
def test_the_platform_knows_the_language_best(said, language):
    assert language_of(post(GERMAN, language=said), GERMAN) == language


@pytest.mark.parametrize(
    "said",
    ["und", "qme", "zxx", "", "mul", "NaN", "nan", "NA", "N/A", "None", "null", "0", "1.0", "true", "unknown", "??", "-", "xx", "English",
     "deu", "en,fr", "['en']", "C", "POSIX", "x-default", "i-klingon", "\ud83d", "en" * 1000],
)  # fmt: skip
def test_where_the_platform_does_not_know_the_text_tells(said):
    assert language_of(post(GERMAN, language=said), GERMAN) == "de"


@pytest.mark.parametrize("said", ["NaN", 5, 1.5, True, None, ["en"], {"code": "en"}, "zxx"], ids=str)
def test_a_table_whose_language_is_none_is_read(tmp_path, said):
    words = f"{GERMAN} ich möchte nicht immer arbeiten sondern auch einmal schlafen und essen weil das besser ist".split()
    texts = [" ".join(random.Random(number).sample(words, 10)) for number in range(200)]
    lines = [json.dumps({"id": str(number), "text": text, "lang": said}) for number, text in enumerate(texts)]
    (tmp_path / "ann.jsonl").write_text("\n".join(lines), encoding="utf-8")
    fetch([str(tmp_path / "ann.jsonl")], tmp_path / "raw", basis="permission")
    funnel = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,+language"))
    assert (funnel.languages, funnel.authors[0].dropped.get("language", 0)) == (("de",), 0)


@given(st.text() | st.text("enNa_-.@ \u0130", max_size=8))
def test_any_text_is_a_known_language_or_none(said):
    assert declared_language(said) in KNOWN | {""}


def test_other_languages_stay_unless_told():
    main = {"ann": "en"}
    assert rule_for("default", main)(post(GERMAN)) == KeptPost(GERMAN)
    judge = rule_for("default,+language", main)
    assert judge(post(GERMAN)) == Dropped("language")
    assert judge(post("Thank you so much!")) == KeptPost("Thank you so much!")
    assert judge(post(ENGLISH)) == KeptPost(ENGLISH)
    assert judge(post(GERMAN, author="bob")) == KeptPost(GERMAN)


@pytest.mark.parametrize(
    ("one", "other"), [("no", "da"), ("nb", "nn"), ("hr", "sr"), ("bs", "sr"), ("id", "ms"), ("cs", "sk"), ("", "en"), ("en", "")]
)
def test_close_kin_count_as_one(one, other):
    assert are_kin(one, other)
    assert are_kin(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("sv", "da"), ("en", "de"), ("es", "pt"), ("ru", "uk"), ("hr", "sl"), ("de", "nl"), ("id", "tl")]
)
def test_other_languages_are_others(one, other):
    assert not are_kin(one, other)


@pytest.mark.parametrize(
    ("counts", "language"),
    [
        ({"en": 10}, "en"), ({}, ""), ({"": 10}, ""), ({"": 97, "ro": 3}, ""), ({"": 280, "ro": 12, "fr": 8}, ""),
        ({"": 100, "el": 50}, "el"),
        ({"da": 40, "no": 35, "en": 45}, "da"), ({"hr": 5, "sr": 6, "bs": 4, "en": 7}, "sr"), ({"en": 5, "de": 5}, "de"),
        ({"en": 45, "es": 40}, "en"),
        ({"": 60, **dict.fromkeys(("ro", "fr", "it", "tr", "pl"), 8)}, ""),
    ],
)  # fmt: skip
def test_the_main_language(counts, language):
    assert main_language(counts) == language


def test_kin_of_the_main_language_stay():
    norwegian = "I dag var det en veldig lang dag på kontoret, og jeg er sliten"
    judge = rule_for("default,+language", {"ann": "da"})
    assert judge(post(norwegian, language="nb")) == KeptPost(norwegian)
    assert judge(post(ENGLISH)) == Dropped("language")


def test_the_language_of_the_mended_text_counts(tmp_path):
    """A Greek author of whom a third of the posts came through an export that takes UTF-8 for Latin-1, and four are English."""
    texts = [text.encode().decode("latin-1") if number % 3 == 0 else text for number, text in enumerate(GREEK)]
    posts = [post(text, number=number) for number, text in enumerate(texts)]
    posts += [post(f"{ENGLISH} number {number}", number=900 + number) for number in range(4)]
    posts.append(post(ENGLISH, Kind.REPOST, number=999))
    raw_folder(tmp_path / "raw", posts)
    funnel = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,-near-duplicates,-duplicates,+language"))
    assert funnel.languages == ("el",)
    assert [record["reason"] for record in lines(tmp_path / "data", "dropped.jsonl")] == ["language"] * 4 + ["retweet"]


def test_threads_are_judged_by_the_language_of_their_whole_text(tmp_path):
    posts = [*many(200), post("Ja.", number=1000), post(GERMAN, Kind.REPLY, number=1001, reply_to="1000", reply_to_self=True)]
    raw_folder(tmp_path / "raw", posts)
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,+threads,+language"))
    reasons = {record["id"]: record["reason"] for record in lines(tmp_path / "data", "dropped.jsonl")}
    assert (reasons["1000"], reasons["1001"]) == ("language", "merged")
