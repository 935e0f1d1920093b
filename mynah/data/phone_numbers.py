"""Find phone numbers in a folded text (mynah.data.text_folding), as Google's libphonenumber knows them.

With a country code a number is whatever the library finds. Without one it must be grouped as people of a country do it: ten digits in a
row may be an id, unless a word before says what they are. The patterns only choose what the library is asked about; it takes 0.1 s to
import and is of the extra `personal`, so only functions import it.
"""

import contextlib
import functools
import re
from collections.abc import Iterator

Span = tuple[int, int]

# Countries whose national format is matched: where Mynah's languages are spoken.
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "BR", "IN", "AU")
PLUS = re.compile(r"\+[ ().\[\]/-]{0,4}[0-9]")
# Numbers may stand directly behind a word, as in call(030)… and Handy0151 …. Capitals before digits are a code, unless they say "phone", and
# a few letters behind digits or a hyphen are part of one.
BEHIND_WORD = (
    r"(?:(?<![A-Za-z])|(?<=[A-Za-z]{2}(?-i:[a-z]))(?<![0-9_-][A-Za-z]{3})(?<![0-9_-][A-Za-z]{4})"
    r"|(?<=TEL)|(?<=FAX)|(?<=CALL)|(?<=CELL)|(?<=TEXT)|(?<=PHONE)|(?<=MOBILE)|(?<=HANDY))"
)
LETTER_BEFORE_PLUS = re.compile(r"[^\W\d_](?=\+)")  # the library wants a number to begin a word
# The prefixes that dial abroad instead of +: 00 in most countries, 011 in North America.
DIALLED = re.compile(
    BEHIND_WORD + r"(?<![0-9_+])(?<![0-9][.,/-])\(?(?:00|011)[ .)/-]{0,3}[1-9](?:[ ().\-/]{0,3}[0-9]){6,17}(?![\w%])", re.ASCII
)
AMERICAN = re.compile(  # with country code 1, without +
    r"1(?:[ .\-/]{1,3}\(?|\()[2-9][0-9]{2}\)?[ .\-/]{0,3}[2-9][0-9]{2}[ .\-/]{0,3}[0-9]{4}", re.ASCII
)
# Groups of digits. "Tel:" may precede them directly, the minutes of a time may not. Behind them an extension may follow.
RUN = re.compile(
    BEHIND_WORD + r"(?<![0-9$€£#+])(?<![0-9][.,/_-])(?<![0-9:]:)"
    r"(?P<run>(?:1(?:[ .\-/]{1,3}\(?|\()(?=[2-9][0-9]{2})|\([0-9][0-9 ]{0,5}\)[ .\-/]{0,3}|0[ .\-/](?=[1-9])|\(?[0-9]{2,6}(?:[ .\-/]{1,3}\(?|\())"
    r"[0-9][0-9 ().\-/]{3,}[0-9])(?P<extension>[ ,;]{0,2}(?:x|ext\.?|extension) ?[0-9]{1,6})?(?![A-Za-z0-9%]|[.,:/][0-9])",
    re.ASCII | re.IGNORECASE,
)
NAMED = re.compile(
    r"(?<![\w@#])(?!(?<=\[)phone\])(?:call|text|tel|tel[eé]fono?|telephone|t[eé]l[eé]phone|telefone?|phone|mobile?|m[oó]vil|handy|cell|celular|cellulare"
    r"|fax|ring|sms|whats ?app|wa\.me|dial|\u260e\ufe0f?|📞|📱)(?![^\W\d])[^\w\n@#$€£]{0,3}"
    r"(?:(?:me|us|him|her|them|number|no|is|on|at|now|to)[ :.]{1,2}){0,3}\(?([0-9]{9,12})(?![\w%-]|[.,:/][0-9])",
    re.ASCII | re.IGNORECASE,
)
LONG = re.compile("[0-9]{9}")
DATE = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}[ .\-/][0-9]{1,2}[ .\-/][0-9]{1,2}|[0-9]{1,2}[ .\-/][0-9]{1,2}[ .\-/](?:19|20)[0-9]{2})(?![0-9])",
    re.ASCII,
)
DECIMAL = re.compile(r"(?:0|[1-9][0-9]*)\.[0-9]+")  # such as a coordinate
MAX_GROUPS = 5
# Among adjacent numbers some are grouped like phone numbers by chance; only a leading 0, an area code in parentheses or the American
# form is certain.
CERTAIN = re.compile(
    rf"\(?0[1-9](?=.*[0-9]{{3}}).+|\([0-9 ]{{2,6}}\).+|{AMERICAN.pattern}|\(?[2-9][0-9]{{2}}\)?[ .\-/]{{1,3}}[2-9][0-9]{{2}}[ .\-/]{{1,3}}[0-9]{{4}}",
    re.ASCII,
)
AS_WRITTEN = str.maketrans("\u00b7[]", ".()")
PARTED = re.compile(r" ?/+ ?| [.\-]+ ")  # what people write between two numbers
MIN_DIGITS, MAX_DIGITS, MAX_LENGTH = 9, 14, 40  # of a number without a country code
MIN_DIGITS_WITH_AREA = 8  # with the area code in parentheses


def find_international(text: str) -> Iterator[Span]:
    """Yield the spans of phone numbers with a + and a country code: all that the library finds."""
    if not PLUS.search(text):
        return
    import phonenumbers

    text = LETTER_BEFORE_PLUS.sub(" ", text.replace("\u00b7", "."))
    for match in phonenumbers.PhoneNumberMatcher(text, None, phonenumbers.Leniency.VALID):
        yield match.start, match.end


def find_dialled(text: str) -> Iterator[Span]:
    """Yield the spans of phone numbers with a country code behind 00 or 011."""
    import phonenumbers

    for match in DIALLED.finditer(text.replace("\u00b7", ".")):
        groups = list(re.finditer("[0-9]+", match.group()))
        for last in reversed(groups):
            digits = re.sub("[^0-9]", "", match.group()[: last.end()])
            with contextlib.suppress(phonenumbers.NumberParseException):
                number = phonenumbers.parse(f"+{re.sub('^(?:00|011)', '', digits)}")
                if phonenumbers.is_valid_number(number):
                    yield match.start(), match.start() + last.end()
                    break


def find_national(text: str) -> Iterator[Span]:
    """Yield the spans of phone numbers that are grouped as people of one of `REGIONS` do it."""
    for match in RUN.finditer(text.translate(AS_WRITTEN)):
        start, run = match.start(), match.group("run")
        for first, last in _numbers_in(run):
            end = match.end() if last == len(run) else start + last
            yield start + first, end


def find_named(text: str) -> Iterator[Span]:
    """Yield the spans of phone numbers in one piece behind a word that says what they are."""
    if LONG.search(text):
        yield from (match.span(1) for match in NAMED.finditer(text) if _is_assigned(match.group(1)))


def _numbers_in(run: str) -> Iterator[Span]:
    """Yield the phone numbers in a run of groups: the run itself, or those among adjacent numbers, in order."""
    if _is_number(run):
        yield 0, len(run)
        return
    position = 0
    for start, end in [*_windows(run), (len(run), len(run))]:
        piece_start = position
        for between in [*PARTED.finditer(run, position, start), None]:  # two numbers of pairs: 01 42 68 53 00 / 06 12 34 56 78
            piece_end = between.start() if between else start
            digits = [place for place in range(piece_start, piece_end) if run[place].isdigit()]
            if digits and (digits[0], digits[-1]) != (0, len(run) - 1) and _is_number(run[digits[0] : digits[-1] + 1]):
                yield digits[0], digits[-1] + 1
            piece_start = between.end() if between else start
        if end > start:
            yield start, end
        position = end


def _windows(run: str) -> Iterator[Span]:
    """Yield numbers of certain form among the groups of a run."""
    groups = [group.span() for group in re.finditer(r"[^ /]*[0-9][^ /]*", run)]
    first = 0
    while first < len(groups):
        start, next_group = groups[first][0], first + 1
        for last in range(min(len(groups), first + MAX_GROUPS) - 1, first - 1, -1):
            number = run[start : groups[last][1]].rstrip("(.-")
            if (first == last or CERTAIN.fullmatch(number)) and _is_number(number):
                yield start, start + len(number)
                next_group = last + 1
                break
        first = next_group


def _is_number(number: str) -> bool:
    if len(number) > MAX_LENGTH:
        return False
    least = MIN_DIGITS_WITH_AREA if number.startswith("(") else MIN_DIGITS
    if not least <= sum(map(str.isdigit, number)) <= MAX_DIGITS:
        return False
    return not number.isdigit() and not DATE.search(number) and not DECIMAL.fullmatch(number) and _is_phone(number)


@functools.lru_cache(maxsize=1000)  # for texts that repeat one number
def _is_phone(number: str) -> bool:
    """Return whether a country of `REGIONS` assigns such a number, and people there group it so. Behind parentheses the rest may be in one piece."""
    import phonenumbers

    if AMERICAN.fullmatch(number):
        number = f"+{number}"
    is_international = number.startswith("+")
    leniency = phonenumbers.Leniency.EXACT_GROUPING
    if is_international:
        leniency = phonenumbers.Leniency.VALID
    elif number.startswith("("):
        leniency = phonenumbers.Leniency.STRICT_GROUPING
    for region in (None,) if is_international else REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(number, region, leniency):
            if match.start == 0 and match.end == len(number):
                return True
    return False


@functools.lru_cache(maxsize=1000)
def _is_assigned(digits: str) -> bool:
    """Return whether a country of `REGIONS` assigns a number of these digits."""
    import phonenumbers

    for region in REGIONS:
        with contextlib.suppress(phonenumbers.NumberParseException):  # 0021… dials abroad, but no country
            if phonenumbers.is_valid_number(phonenumbers.parse(digits, region)):
                return True
    return False
