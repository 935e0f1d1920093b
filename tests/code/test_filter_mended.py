"""The rules judge the text as its readers saw it: what file formats, cuts and apps made of it is undone first."""

import json

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.filter.escapes import unescape
from components.filter.manual_quotes import MANUAL_QUOTE, is_manual_quote
from components.filter.rules import DefaultRules, Dropped
from components.filter.text_cleaning import UNMISTAKEN
from tests.code.filter_inputs import post


def outcome(text, **more):
    judged = DefaultRules()(post(text, **more))
    return judged.reason.upper() if isinstance(judged, Dropped) else judged.text


@pytest.mark.parametrize(
    "text",
    [
        "So true! “@bob: nobody warns you how loud it is”", "this made my day RT “@bob: the cat wants fish”",
        'ha "@bob: my printer only works when insulted"',
        "agreed QT @bob: gardens are slow arguments", "yes!“@bob: the sun is out at last", "lol RT: “@bob: the sun is out”",
        "„@bob: die Sonne scheint“ endlich",
        "so wahr „@bob: die Sonne scheint“", "oui « @bob : le soleil brille »", "PRT @bob: the sun is out at last",
        "RT \uff20bob the sun is out at last",
        "that “\uff20bob\uff1a the sun is out”", "nice 'RT '@bob: the sun is out'",
        "#Repost @bob with @use.repost ・・・ the sun is out",
        "nice one R/T @bob the sun is out", "nice one QRT @bob: the sun is out", "nice one ♺ @bob: the sun is out",
        "Reposted from @bob the sun is out at last", "RT: bob says every library should sell soup",
        "so true &ldquo;@bob: the sun is out&rdquo;",
        "me too \u2018@bob: the sun is out at last\u2019", "exactly 🔁 “@bob: the sun is out",
        "yes \"\u2066@bob\u2069: the sun is out at last\"",
    ],
)  # fmt: skip
def test_others_words_behind_a_comment(text):
    assert outcome(text) == "MANUAL-QUOTE"


@pytest.mark.parametrize("mark", list("“„«\u2039「『\"'\uff02\u2018\u201a\u201b”»\u203a❝〝﹁《〈`\u276e"), ids=ascii)
def test_quotation_marks_of_all_languages(mark):
    for comment in ("", "so true ", "so true: ", "via ", "oh yes RT "):
        for blank in ("", " ", "\u00a0", "\u202f", "\u200b", "\u200f", " \u2066"):
            assert outcome(f"{comment}{mark}{blank}@bob: the sun is out at last") == "MANUAL-QUOTE", ascii(comment + mark + blank)


@pytest.mark.parametrize(
    "text",
    [
        'That is "great" @bob: you should come over', "my friends' @bob: handle is taken again",
        "you are such a qt @bob honestly", "HT @bob for this one, really",
        "the “@bob” handle is taken by now", 'she said "@bob" out loud to me', "Repost if you are a friend of @bob",
        "I RT: often and gladly do it",
        "5' @bob: that is his height", 'Oh "no!" @bob: come over now', "a great read via @bob by the lake",
        "ask @bob: he knows it all", "from Butte, MT @bob says hi",
    ],
)  # fmt: skip
def test_what_is_no_quote_of_others(text):
    assert outcome(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the whole story is here https…", "the whole story is here"),
        ("the whole story is here htt…", "the whole story is here"),
        ("the whole story is here ht…", "the whole story is here"), ("the whole story is here h…", "the whole story is here"),
        ("the whole story is here http://…", "the whole story is here"),
        ("the whole story is here https:", "the whole story is here"),
        ("the whole story is here http...", "the whole story is here"),
        ("the whole story is here https://t.c…", "the whole story is here"),
        ("the whole story is here pic.twit…", "the whole story is here"), ("all of it (https…) and more", "all of it and more"),
        ("see htt https://t.co/x", "see"), ("I prefer https to http any day", "I prefer https to http any day"),
        ("oh… the shtt…", "oh… the shtt…"),
    ],
)  # fmt: skip
def test_cut_links(text, expected):
    assert DefaultRules(on={"urls"})(post(text)).text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first line,_x000D_\nsecond line here", "first line, second line here"),
        ("one_x000d_two three four", "one two three four"),
        ("tab_x0009_between four words here", "tab between four words here"),
        ("a smile _xD83D__xDE00_ for you all", "a smile 😀 for you all"),
        ("null_x0000_ goes from here away", "null goes from here away"),
        ("my_x_axis and _x00_ stay here", "my_x_axis and _x00_ stay here"),
        (json.dumps("caf\u00e9 \u201cat last\u201d\nsays \"Ann\" 😀"), "café “at last” says \"Ann\" 😀"),
        (json.dumps("caf\u00e9 at last, says Ann")[1:-1], "café at last, says Ann"),
        (r"don\u2019t \"quote\" me on this", "don\u2019t \"quote\" me on this"),
        (r"he said \u201cno\u201d to C:\Users and left", "he said “no” to C:\\Users and left"),
        (r"read it https:\/\/t.co\/x now please", "read it now please"),
        (r"First line here\nSecond line here\n\n", "First line here Second line here"),
        (r"a file in C:\new\Table is lost", r"a file in C:\new\Table is lost"),
        (r"use \n for a new line in C", r"use \n for a new line in C"),
        ('"To be or not to be" he said', '"To be or not to be" he said'),
        (r"shrug ¯\_(ツ)_/¯ and go on", r"shrug ¯\_(ツ)_/¯ and go on"),
        ("\uff20bob \uff20cat_1 I quite agree with you", "I quite agree with you"),
        ("I quite agree with \uff20bob on it", "I quite agree with \uff20bob on it"),
    ],
)  # fmt: skip
def test_escapes_of_formats(text, expected):
    assert outcome(text) == expected


def test_names_are_no_words_of_a_short_post():
    assert outcome("yes \uff20bob no") == "SHORT"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffRT @bob: the sun is out",
        "\u200eRT @bob the sun is out",
        "&#82;T @bob: the sun is out",
        json.dumps("RT @bob: é \n out"),
    ],
)
def test_reposts_behind_an_escape(text):
    assert outcome(text) in ("RETWEET", "MANUAL-QUOTE")


def test_programs_are_recognized_in_the_mended_text():
    wordle = "Wordle 1,234 3/6 ⬛🟨⬛🟩⬛ 🟩🟩🟩🟩🟩"
    assert outcome(wordle.encode().decode("latin-1")) == "AUTOMATED"
    assert outcome(json.dumps("I'm at Café Élan (Salt Lake City) http://t.co/x")) == "AUTOMATED"
    assert outcome("I&#39;m at Joe&#39;s Pub in New York, NY https://t.co/x") == "AUTOMATED"


@pytest.mark.parametrize(
    "text",
    [
        "\\u" * 60_000,
        "\\" * 100_000,
        '"' + "\\n" * 60_000,
        "_x000" * 40_000,
        "_x000D_" * 20_000,
        "htt… " * 40_000,
        "“@a" * 50_000,
    ],
)
@pytest.mark.timeout(20)  # what takes the square of a text's length would take minutes
def test_crafted_escapes_take_no_time_to_speak_of(text):
    unescape(text)
    DefaultRules()(post(text))


@given(
    st.lists(
        st.sampled_from(
            [*"“«'\" :.,@aT\u200f\u3000🔁\ufe0f", "RT", "MT", "QT", "rt", "#regram ", "reposted by ", "via ", "@bob: "]
        )
    ).map("".join)
)
def test_no_quote_is_lost_to_the_quick_look_before(text):
    assert is_manual_quote(text) == bool(MANUAL_QUOTE.search(text))


@given(
    st.text(
        st.sampled_from(
            "aé "
            + "".join(map(chr, (0x200D, 0x2013, 0x2014, 0x2018, 0x2019, 0x201C, 0x201D, 0x2026, 0xFE0F, 0x3042, 0xFAFF, 0x1F600)))
        )
    )
)
def test_letters_that_no_encoding_confuses_are_no_mojibake(text):
    if UNMISTAKEN.fullmatch(text):
        assert ftfy.fix_encoding(text) == text
