"""Personal data in a text: e-mail addresses, phone, bank account, card and social security numbers, IP addresses.

What has a checksum is taken only when it holds (IBAN: ISO 13616, mod 97; cards: ISO/IEC 7812, Luhn), and phone numbers only when
a country gives out such numbers, by Google's libphonenumber. Years, scores, prices and the ids of posts are none.
"""

import contextlib
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

LETTER = r"[^\W\u0e00-\U0010ffff]"  # a word of a script without blanks may stand before or behind an address
EMAIL = re.compile(
    rf"(?<![.+%@-])(?<!{LETTER})(?:{LETTER}|[+%-])(?:(?:{LETTER}|[.+%-]){{0,62}}(?:{LETTER}|[+%-]))?"
    rf"@(?:(?!_){LETTER}(?:{LETTER}|-){{0,62}}\.){{1,6}}(?:(?![\d_]){LETTER}){{2,24}}(?!@|[.-]?{LETTER})"
)
IBAN = re.compile(r"(?<!\w)[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}", re.ASCII)
LONGEST_IBAN, SHORTEST_IBAN = 34, 15
CARD = re.compile(r"(?<![\w.-])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![\w-])", re.ASCII)
# The numbers that issuers give out, by their first digits and length (Visa, Mastercard, American Express, Discover, Diners, JCB).
ISSUED = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:2[2-9]|[3-6][0-9]|7[01])[0-9]{13}|2720[0-9]{12}|3[47][0-9]{13}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}"
)
IP4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])", re.ASCII)
IP6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:{1,2}){3,7}[0-9a-f]{1,4}(?![\w:])", re.ASCII | re.IGNORECASE)
FEWEST_IP_DIGITS = 7  # 1.2.3.4 and 10.15.7.1 are versions of programs more often
SSN = re.compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])", re.ASCII)
# A phone number is written with a + and its country, or in groups, as people write it; ten digits in a row are an id as well, unless
# a word before says what they are. "Tel:" may stand close to it, the minutes of a time may not.
AMERICAN = re.compile(r"1[ .\-]\(?[2-9][0-9]{2}\)?[ .\-][2-9][0-9]{2}[ .\-][0-9]{4}", re.ASCII)  # with the country's 1, and no +
PHONE = re.compile(
    rf"(?<![a-zA-Z0-9_.,/$€£#+-])(?<![0-9:]:)(?:{AMERICAN.pattern}|"
    r"\+[0-9][0-9 ().\-/\u00a0]{6,24}[0-9]|\(?[0-9]{2,5}\)?[ .\-/][0-9 .\-/]{4,60}[0-9])(?![\w%]|[.,:/][0-9])",
    re.ASCII,
)
NAMED_PHONE = re.compile(
    r"(?<!\w)(?:call|text|tel|telephone|phone|mobile|cell|ring|sms|whatsapp|dial|☎\ufe0f?|📞|📱)(?!\w)[^\w\n@#$€£]{0,3}"
    r"(?:(?:me|us|him|her|them|number|no|is|on|at|now|to)[ :.]{1,2}){0,3}([0-9]{10,11})(?![\w%-]|[.,:/][0-9])",
    re.ASCII | re.IGNORECASE,
)
DATE = re.compile(
    r"(?:19|20)[0-9]{2}[ .\-/][0-9]{1,2}[ .\-/][0-9]{1,2}|[0-9]{1,2}[ .\-/][0-9]{1,2}[ .\-/](?:19|20)[0-9]{2}", re.ASCII
)
# Whose way of writing a number without its country is known: where Mynah's languages are spoken.
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "BR", "IN", "AU")
MOST_GROUPS = 4
# Of several numbers side by side some are always grouped like a phone number: those with a +, a leading 0 or the American form are it.
UNMISTAKABLE = re.compile(
    rf"\+.+|\(?0[1-9](?=.*[0-9]{{3}}).+|{AMERICAN.pattern}|\(?[2-9][0-9]{{2}}\)? [2-9][0-9]{{2}} [0-9]{{4}}", re.ASCII
)
FEWEST_PHONE_DIGITS, MOST_PHONE_DIGITS = 9, 15  # with a country (ITU-T E.164); without one no more than 12
ANY = re.compile(r"[@0-9]|[0-9a-fA-F]:[0-9a-fA-F:]")  # nothing of all this is without


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data at text[start:end]. `kind`: email, iban, card, ip, ssn or phone."""

    kind: str
    start: int
    end: int
    text: str

    @property
    def value(self) -> str:
        """The same however it was written: without case, blanks and punctuation that say nothing."""
        return f"{self.kind}:{self.text.casefold() if self.kind in ('email', 'ip') else re.sub('[^0-9A-Za-z]', '', self.text)}"


def find(text: str) -> list[Found]:
    """All personal data in `text`, in order, none twice. Never raises, whatever the text."""
    if not ANY.search(text):
        return []
    found: list[Found] = []
    taken = bytearray(len(text))
    for kind, look in RULES:
        for start, end in look(text):
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Found(kind, start, end, text[start:end]))
    return sorted(found, key=lambda each: each.start)


def values(texts: Iterable[str]) -> frozenset[str]:
    """The personal data in `texts`, each as its `value`."""
    return frozenset(found.value for text in texts for found in find(text))


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        yield from (match.span() for match in EMAIL.finditer(text) if ".." not in match.group())


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import iban

    for match in IBAN.finditer(text):
        # The pattern takes words that follow too: the longest part that is a number of its country's length and checksum.
        for end in range(match.end(), match.start() + SHORTEST_IBAN - 1, -1):
            part = text[match.start() : end]
            if part[-1].isalnum() and not text[end : end + 1].isalnum() and iban.is_valid(part, check_country=False):
                yield match.start(), end
                break


def _cards(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn

    for match in CARD.finditer(text):
        digits = re.sub("[ -]", "", match.group())
        if ISSUED.fullmatch(digits) and luhn.is_valid(digits):
            yield match.span()


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in (*IP4.finditer(text), *IP6.finditer(text)):
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        few = address.version == 4 and sum(char.isdigit() for char in match.group()) < FEWEST_IP_DIGITS
        if address.is_global and not few:
            yield match.span()


def _social(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.us import ssn

    yield from (match.span() for match in SSN.finditer(text) if ssn.is_valid(match.group()))


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in PHONE.finditer(text):
        if _may_be_phone(match.group()):
            yield match.span()
        else:
            yield from ((match.start() + start, match.start() + end) for start, end in _phones_within(match.group()))
    for match in NAMED_PHONE.finditer(text):
        if _is_given_out(match.group(1)):
            yield match.span(1)


def _phones_within(numbers: str) -> Iterator[tuple[int, int]]:
    """Phone numbers side by side, or with another number beside, look like one that is too long."""
    groups = [group.span() for group in re.finditer(r"[^ \u00a0/]+", numbers)]
    first = 0
    while first < len(groups):
        start, beyond = groups[first][0], first + 1
        for last in range(min(len(groups), first + MOST_GROUPS) - 1, first - 1, -1):
            number = numbers[start : groups[last][1]]
            if (first == last or UNMISTAKABLE.fullmatch(number)) and _may_be_phone(number):
                yield start, groups[last][1]
                beyond = last + 1
                break
        first = beyond


def _may_be_phone(number: str) -> bool:
    most = MOST_PHONE_DIGITS if number.startswith("+") else MOST_PHONE_DIGITS - 3
    if not FEWEST_PHONE_DIGITS <= sum(map(str.isdigit, number)) <= most:
        return False
    return not number.isdigit() and not DATE.search(number) and _is_phone(number)


@functools.lru_cache(maxsize=1000)  # a text that says one number again and again
def _is_phone(number: str) -> bool:
    """Whether a country gives out such numbers; where none is named, whether it is grouped as one of `REGIONS` groups them."""
    import phonenumbers

    if AMERICAN.fullmatch(number):
        number = f"+{number}"
    whole = number.startswith("+")
    leniency = phonenumbers.Leniency.VALID if whole else phonenumbers.Leniency.EXACT_GROUPING
    for region in (None,) if whole else REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(number, region, leniency):
            if match.start == 0 and match.end == len(number):
                return True
    return False


@functools.lru_cache(maxsize=1000)
def _is_given_out(digits: str) -> bool:
    """Whether a country of `REGIONS` gives out a number of these digits."""
    import phonenumbers

    for region in REGIONS:
        with contextlib.suppress(phonenumbers.NumberParseException):  # 0021… calls abroad, to no country
            if phonenumbers.is_valid_number(phonenumbers.parse(digits, region)):
                return True
    return False


Look = Callable[[str], Iterator[tuple[int, int]]]
# In this order: of two that overlap the first is right, for the last ones are the least sure.
RULES: tuple[tuple[str, Look], ...] = (
    ("email", _emails), ("iban", _ibans), ("card", _cards), ("ip", _addresses), ("ssn", _social), ("phone", _phones),
)  # fmt: skip
