"""Personal data: found however it is written, and not seen in what only looks like it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mynah.data.personal_data import PersonalDatum, find, values


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("mail ann@example.org now", "email", "ann@example.org"),
        ("Ann.O+x@mail.example.co.uk.", "email", "Ann.O+x@mail.example.co.uk"),
        ("(jürgen@bücher.de)", "email", "jürgen@bücher.de"),
        ("call +44 20 7946 0958 today", "phone", "+44 20 7946 0958"),
        ("+33142685300", "phone", "+33142685300"),
        ("it is (212) 555-0123.", "phone", "(212) 555-0123"),
        ("415.555.2671", "phone", "415.555.2671"),
        ("+1-415-555-2671!", "phone", "+1-415-555-2671"),
        ("020 7946 0958", "phone", "020 7946 0958"),
        ("01 42 68 53 00", "phone", "01 42 68 53 00"),
        ("Tel:020 7946 0958", "phone", "020 7946 0958"),
        ("tel:+14155552671", "phone", "+14155552671"),
        ("call 1-800-273-8255 now", "phone", "1-800-273-8255"),
        ("1 (415) 555-2671", "phone", "1 (415) 555-2671"),
        ("call me on 07700900123", "phone", "07700900123"),
        ("☎️ 4155552671", "phone", "4155552671"),
        ("my phone number is 4155552671.", "phone", "4155552671"),
        ("415 555 2671 24 hours a day", "phone", "415 555 2671"),
        ("open 24 7, 415 555 2671", "phone", "415 555 2671"),
        ("メールはann@example.orgまで", "email", "ann@example.org"),
        ("DE89 3704 0044 0532 0130 00 AND MORE", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432.", "iban", "GB82WEST12345698765432"),
        ("4111 1111 1111 1111", "card", "4111 1111 1111 1111"),
        ("378282246310005", "card", "378282246310005"),
        ("http://98.202.88.97:9999/", "ip", "98.202.88.97"),
        ("2001:4860:4860::8888", "ip", "2001:4860:4860::8888"),
        ("my ssn is 123-45-6789", "ssn", "123-45-6789"),
    ],
)
def test_found(text, kind, found):
    start = text.index(found)
    assert find(text) == [PersonalDatum(kind, start, start + len(found), found)]


@pytest.mark.parametrize(
    "text",
    [
        "", "no digits at all", "2019-10-12 12:30", "12/25/2016 10:30", "in 1914-1918", "21-19 21-17 21-15", "3:2, 4-3", "$1,000,000",
        "€ 120 000 000", "815676142409502720", "status/1234567890123456789", "v1.2.3.4", "10.0.0.1 and 127.0.0.1", "@ann@mastodon.social",
        "std::string", "12:30:45", "100 200 300", "1 2 3 4 5 6 7 8 9 10", "3.14159265358979", "2016 2017 2018", "24/7 365",
        "10-9-8-7-6-5-4-3-2-1", "4111 1111 1111 1112", "1990 2000 2010", "ISBN 978-3-16-148410-0", "99.99% 100.00%", "a@b", "@ someone",
        "http://t.co/123456789", "#100 200 300", "DE89 3704 0044 0532 0130 01", "000-12-3456", "999.999.999.999", "5 @ 10",
        "call 5 people on 10 days", "4155552671", "id:4155552671", "text 2024 to 80100", "Lotto: 04 12 23 34 45 56", "scores 102 98 110 99 101 120",
        "100 200 300 400 500 600", "12 345 6789 1234 567", "open 12:30-14:00 200 300 4000",
    ],
)  # fmt: skip
def test_what_only_looks_like_it(text):
    assert find(text) == []


def test_several_in_order_and_none_twice():
    text = "GB82WEST12345698765432 ann@example.org 4111 1111 1111 1111, +44 20 7946 0958"
    assert [each.kind for each in find(text)] == ["iban", "email", "card", "phone"]


@pytest.mark.parametrize("between", [" ", " / ", ", ", " or "])
@pytest.mark.parametrize(("one", "other"), [("212-736-5000", "415-555-2671"), ("020 7946 0958", "0161 496 0123")])
def test_two_phone_numbers_side_by_side(one, between, other):
    assert [each.text for each in find(f"{one}{between}{other}")] == [one, other]


def test_the_same_however_it_is_written():
    assert values(["Ann@Example.org", "ann@example.ORG"]) == {"email:ann@example.org"}
    assert values(["+44 20 7946 0958", "+44 (20) 7946-0958"]) == {"phone:442079460958"}


@given(st.text("0123", min_size=10, max_size=11))
def test_any_digits_behind_a_word_that_names_a_phone_are_read(digits):
    check(f"call {digits}")


@given(st.text())
def test_any_text_is_read(text):
    check(text)


@given(st.text(alphabet="@.:+-()/ 0123456789abcdefDEGB\u0660\uff10\ud800\u00a0\n", max_size=120))
def test_any_text_of_what_it_looks_for_is_read(text):
    check(text)


def check(text):
    found = find(text)
    assert all(text[each.start : each.end] == each.text and each.text for each in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1 ",
        "1-",
        "12.",
        "a@",
        "a.",
        "(1",
        "+1 ",
        "DE89",
        "1:",
        "4111 1111 1111 1111 ",
        "020 7946 0958 ",
        "a@b.c",
        "AB12 ",
        "ann@example.org ",
        "98.202.88.97 ",
        "call 4155552671 ",
        "call me ",
        "12 3456 789 / ",
        "1-415-",
    ],
)
@pytest.mark.timeout(20)  # what takes the square of a text's length, or more, would take minutes
def test_a_long_post_of_one_piece_is_read_soon(piece):
    find(piece * (100_000 // len(piece)))
