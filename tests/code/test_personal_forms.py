"""Personal data in the forms that phones, word processors and people give it: none hides behind another blank, hyphen or digit."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.filter.rule_selection import ON
from components.filter.text_cleaning import clean, mask_personal_data
from mynah.data.personal_data import find, values

NUMBERS = {
    "phone": ("(415) 555-2671", "415-555-2671", "020 7946 0958", "+44 20 7946 0958", "01 42 68 53 00", "0044 20 7946 0958"),
    "card": ("4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005"),
    "iban": ("DE89 3704 0044 0532 0130 00", "gb82 west 1234 5698 7654 32", "NO93 8601 1117 947"),
    "ssn": ("536-90-4399", "536 90 4399"),
}
BLANKS = ["\u00a0", "\u202f", "\u2009", "\u2007", "\u3000", "\u2800", "\t", "\n", "\r\n", "\u2028", "  ", " \u200b", "\u2060 "]
HYPHENS = ["\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\uff0d", "\ufe63", "\u30fc", "-\u00ad", " - "]
DIGITS = [0xFF10, 0x0660, 0x06F0, 0x0966, 0x1D7CE]


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in NUMBERS for number in NUMBERS[kind] if " " in number])
def test_blanks_of_every_kind(kind, number, blank):
    written = number.replace(" ", blank)
    assert [(each.kind, each.text) for each in find(f"it is {written} today")] == [(kind, written)]


@pytest.mark.parametrize("hyphen", HYPHENS, ids=ascii)
@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in NUMBERS for number in NUMBERS[kind] if "-" in number])
def test_hyphens_of_every_kind(kind, number, hyphen):
    written = number.replace("-", hyphen)
    assert [(each.kind, each.text) for each in find(f"it is {written} today")] == [(kind, written)]


@pytest.mark.parametrize("zero", DIGITS, ids=hex)
@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in NUMBERS for number in NUMBERS[kind]])
def test_digits_of_every_script(kind, number, zero):
    written = "".join(chr(zero + int(char)) if char.isdigit() else char for char in number)
    assert [each.kind for each in find(f"it is {written} today")] == [kind]
    assert values([written]) == values([number])


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("call (415)555-2671 now", "phone", "(415)555-2671"), ("(415) 5552671", "phone", "(415) 5552671"),
        ("+44(0)20 7946 0958", "phone", "+44(0)20 7946 0958"), ("+1(415)5552671", "phone", "+1(415)5552671"),
        ("Tel.415-555-2671", "phone", "415-555-2671"), ("_415-555-2671_", "phone", "415-555-2671"),
        ("[415] 555-2671", "phone", "[415] 555-2671"),
        ("415-555-2671x123", "phone", "415-555-2671x123"), ("1(415)555-2671", "phone", "1(415)555-2671"),
        ("011 44 20 7946 0958", "phone", "011 44 20 7946 0958"), ("on +683 4002", "phone", "+683 4002"),
        ("1\u00b7415\u00b7555\u00b72671", "phone", "1\u00b7415\u00b7555\u00b72671"),
        ("03\u30fc1234\u30fc5678", "phone", "03\u30fc1234\u30fc5678"),
        ("4\ufe0f\u20e31\ufe0f\u20e35\ufe0f\u20e3 555 2671", "phone", "4\ufe0f\u20e31\ufe0f\u20e35\ufe0f\u20e3 555 2671"),
        ("wa.me/14155552671", "phone", "14155552671"), ("電話は020 7946 0958です", "phone", "020 7946 0958"),
        ("call(030)901820 now", "phone", "(030)901820"), ("phone=4155552671", "phone", "4155552671"),
        ("tel:+4930901820", "phone", "+4930901820"), ("Tel.030 901820", "phone", "030 901820"), ("Tel030 9018 2000", "phone", "030 9018 2000"),
        ("Handy0151 23456789", "phone", "0151 23456789"), ("CALL1-800-273-8255", "phone", "1-800-273-8255"),
        ("WhatsApp+44 7911 123456", "phone", "+44 7911 123456"), ("Tel0044 20 7946 0958", "phone", "0044 20 7946 0958"),
        ("phone4155552671", "phone", "4155552671"), ("😀415-555-2671", "phone", "415-555-2671"), ("👉+4930901820", "phone", "+4930901820"),
        ("❤️020 7946 0958", "phone", "020 7946 0958"), ("phone\uff08415\uff09555-2671", "phone", "\uff08415\uff09555-2671"),
        ("4111 1111 1111 1111 12/27 123", "card", "4111 1111 1111 1111"), ("no.4111111111111111", "card", "4111111111111111"),
        ("カードは4111 1111 1111 1111です", "card", "4111 1111 1111 1111"), ("4111.1111.1111.1111", "card", "4111.1111.1111.1111"),
        ("ID12 DE89 3704 0044 0532 0130 00", "iban", "DE89 3704 0044 0532 0130 00"),
        ("口座はDE89370400440532013000です", "iban", "DE89370400440532013000"),
        ("IBANDE89370400440532013000", "iban", "DE89370400440532013000"),
        ("DE89.3704.0044.0532.0130.00", "iban", "DE89.3704.0044.0532.0130.00"),
        ("2a00:1450::200e", "ip", "2a00:1450::200e"), ("[2620:fe::fe]:443", "ip", "2620:fe::fe"),
        ("2a02:908:1234:5600::/56", "ip", "2a02:908:1234:5600::"),
        ("node:2A00:1450::200E.", "ip", "2A00:1450::200E"), ("::ffff:98.202.88.97", "ip", "::ffff:98.202.88.97"),
        ("64:ff9b::98.202.88.97", "ip", "64:ff9b::98.202.88.97"), ("\uff19\uff18.202.88.97", "ip", "\uff19\uff18.202.88.97"),
        ("ann (ät) example.de", "email", "ann (ät) example.de"), ("ann [arroba] example [punto] es", "email", "ann [arroba] example [punto] es"),
        ("SSN:536904399", "ssn", "536904399"), ("my ssn 536904399.", "ssn", "536904399"),
        ("...ann@example.org", "email", "ann@example.org"), ("_ann@example.org_", "email", "_ann@example.org"),
        ("o'brien@example.org", "email", "o'brien@example.org"),
        ("ann\uff20example.org", "email", "ann\uff20example.org"), ("ann\u200b@example.org", "email", "ann\u200b@example.org"),
        ("почта@пример.рф", "email", "почта@пример.рф"), ("ann@bu\u0308cher.example.de", "email", "ann@bu\u0308cher.example.de"),
        ("ann@xn--bcher-kva.xn--p1ai", "email", "ann@xn--bcher-kva.xn--p1ai"), ("ईमेल@उदाहरण.भारत", "email", "ईमेल@उदाहरण.भारत"),
        ("อีเมล@ตัวอย่าง.ไทย", "email", "อีเมล@ตัวอย่าง.ไทย"), ("邮箱 用户@例子.中国", "email", "用户@例子.中国"),
        ("ann@例え.jpまで", "email", "ann@例え.jp"),
        ("이메일@도메인.한국으로", "email", "이메일@도메인.한국"), ("ann [at] example [dot] org", "email", "ann [at] example [dot] org"),
    ],
)  # fmt: skip
def test_forms_that_people_write(text, kind, found):
    assert [(each.kind, each.text) for each in find(text)] == [(kind, found)]


@pytest.mark.parametrize(
    "text",
    [
        "52.52000659, 13.40495400", "0.1234567890", "97.23691564 in all", "#12345678901", "#415-555-2671 is a song", "#4155552671",
        "05bbbc44-7741-7500-6c11-529466845b70", "78319e25-dcf0-7355-7895-0fd603acd7e0", "29db9673-cba0-5844-1869-d450a6055318",
        "SKU415-555-2671", "v415.555.2671", "@call4155552671",
        "https://example.org/i/020-7946-0958a", "grade A+1 in 2019", "essn536904399x", "536904399",
        "won 21-19 21-17", "EUR 120 000 000", "order 4155552671",
        "std::face::", "face::cafe", "best of 2019::", "2001:db8::1", "fe80::1", "::1", "00:1b:44:11:3a:b7",
        "0.4111111111111111", "me (at) home",
        "こんにちは@ann.bsky.social", "thanks @ann.lee@mastodon.social", "open 9\u201317, room 12\u201314",
        "10\u2013 9\u20138\u20137\u20136",
        "in\u00a02019\u00a0and\u00a02020", "1\u202f000\u202f000\u202f000", "\uff11\uff12\uff1a\uff13\uff10", "[phone] 4155552671",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_form(text):
    assert find(text) == []


def test_two_numbers_of_pairs_and_lists():
    assert [each.text for each in find("01 42 68 53 00 / 06 12 34 56 78")] == ["01 42 68 53 00", "06 12 34 56 78"]
    assert len(find("415 555 2671 " * 50)) == 50
    assert [each.kind for each in find("4111 1111 1111 1111 020 7946 0958 536-90-4399")] == ["card", "phone", "ssn"]


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_a_number_of_each_country_as_the_library_writes_it(region):
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE) or phonenumbers.example_number(
        region
    )
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    assert [each.text for each in find(f"it is {written} now")] == [written]


PIECES = st.sampled_from(
    ["+", "+44", "+1", "(", ")", "415", "555", "2671", "020", "7946", "0958", " ", "-", "\u2011", "\u00a0", "\u00ad", "/", ".", "x", "12", "0", "00",
     "DE89", "370400440532013000", "4111", "1111", "536-90-4399", "98.202.88.97", "2a00:1450::200e", "::", ":", "@", "ann", "example.org",
     "call ", "[phone]", "[", "]", "メール", "例え", "tel", "Tel.", "phone=", "call(030)", "TEL", "901820", "😀", "\ufe0f", "\u20e3", "#", "0.",
     "IBAN", "gb82", "\n", "\t", "\u0661", "\uff11", "\ud83d", "_", ",", "a", "1-415-", "$", "%"]
)  # fmt: skip
ANY = st.text(max_size=200) | st.lists(PIECES, max_size=40).map("".join)


@given(ANY)
def test_masking_any_text_is_done_once(text):
    masked = mask_personal_data(text)
    assert find(masked) == []
    assert mask_personal_data(masked) == masked
    assert len(masked) <= len(text)


@given(ANY)
def test_what_is_learnt_holds_no_personal_data(text):
    learnt, _ = clean(text, set(ON))
    assert find(learnt) == []
    assert clean(learnt, set(ON)) == (learnt, set())


@given(ANY)
def test_no_pattern_loses_an_international_number_of_the_library(text):
    covered = {place for each in find(text) for place in range(each.start, each.end)}
    for match in phonenumbers.PhoneNumberMatcher(text, None, phonenumbers.Leniency.VALID):
        assert any(place in covered for place in range(match.start, match.end)), match
