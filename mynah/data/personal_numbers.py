"""Find bank account, card and social security numbers in a folded text (mynah.data.text_folding).

Only functions import stdnum, which is of the extra `personal`.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

IBAN_START = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=iban))[A-Z]{2}[0-9]{2}(?=[ .-]{0,3}[A-Z0-9])", re.ASCII | re.IGNORECASE)
IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?:[ .-]{0,3}[A-Z0-9]){11,30}", re.ASCII | re.IGNORECASE)
MIN_IBAN = 15

# Numbers that issuers assign, by first digits and length (ISO/IEC 7812): Visa, Mastercard, American Express, Discover, Diners, JCB, Mir,
# UnionPay, Maestro.
ISSUED = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:2[2-9]|[3-6][0-9]|7[01])[0-9]{13}|2720[0-9]{12}|3[47][0-9]{13}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}|220[0-4][0-9]{12,15}"
    r"|62[0-9]{14,17}|(?:50(?:18|20|38)|5893|6304|6759|676[1-3])[0-9]{8,15}"
)
RUN = re.compile(r"[0-9]+(?:[ .\-/\u00b7]{1,3}[0-9]+)*")  # groups of digits that may belong together
MIN_CARD, MAX_CARD = 12, 19

SSN = re.compile(
    r"(?:(?<=[Ss][Ss][Nn])|(?<=[Ss][Ss][Nn][:# ])|(?<=[Ss][Ss][Nn]: ))[0-9]{9}(?![\w%-]|[.,][0-9])"
    r"|(?<![A-Za-z0-9_-])(?:[0-9]{3} ?- ?[0-9]{2} ?- ?[0-9]{4}(?![\w-])"
    r"|(?<![0-9][ .])[0-9]{3}(?: [0-9]{2} |[.\u00b7][0-9]{2}[.\u00b7])[0-9]{4}(?![\w%-]|[ .,][0-9]))",
    re.ASCII,
)


def find_ibans(text: str) -> Iterator[Span]:
    """Yield the spans of account numbers whose country, length and checksum are right (ISO 13616, mod 97)."""
    position = 0
    while start := IBAN_START.search(text, position):
        end = _iban_end(text, start.start())
        if end:
            yield start.start(), end
        position = end or start.end()


def _iban_end(text: str, start: int) -> int:
    """Return the end of the longest account number that begins at `start`, 0 where there is none: words may follow a number."""
    from stdnum import iban

    if not (match := IBAN.match(text, start)):
        return 0
    ends = [place + 1 for place in range(start, match.end()) if text[place].isalnum()]
    for count in range(len(ends), MIN_IBAN - 1, -1):
        end = ends[count - 1]
        if re.match("[A-Za-z0-9]", text[end : end + 1]):
            continue  # in the middle of a word
        number = text[start:end]
        if _remainder(number) == 1 and iban.is_valid(number, check_country=False):
            return end
    return 0


def _remainder(number: str) -> int:
    """Return the remainder that the checksum is about: with stdnum's checks, to be asked only where it is 1, a word costs 100 times as much."""
    compact = re.sub("[^A-Za-z0-9]", "", number)
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97


def find_cards(text: str) -> Iterator[Span]:
    """Yield the spans of card numbers that an issuer assigns and whose checksum is right (ISO/IEC 7812, Luhn)."""
    for run in RUN.finditer(text):
        if sum(map(str.isdigit, run.group())) < MIN_CARD:
            continue
        groups = [(run.start() + group.start(), run.start() + group.end()) for group in re.finditer("[0-9]+", run.group())]
        first = 0
        while first < len(groups):
            last = _card_end(text, groups, first)
            if last >= first:
                yield groups[first][0], groups[last][1]
            first = max(first, last) + 1


def _card_end(text: str, groups: list[Span], first: int) -> int:
    """Return the last group of the longest card number that begins with the group `first`, -1 where none does."""
    from stdnum import luhn

    best, digits = -1, ""
    start, end = groups[first]
    if text[start] not in "23456" or end - start < 4 or re.match("[A-Za-z0-9_]", text[start - 1 : start]):
        return best
    if first and text[start - 1] not in " /":
        return best  # the digits of a decimal, or of a longer number
    for last in range(first, len(groups)):
        digits += text[slice(*groups[last])]
        if len(digits) > MAX_CARD:
            break
        written = text[start : groups[last][1]]
        if len(digits) < MIN_CARD or re.match("[A-Za-z0-9_]", text[groups[last][1] : groups[last][1] + 1]):
            continue
        is_alone = first == 0 and last == len(groups) - 1 and not re.search(r"[./]", written)
        if (is_alone or _is_grouped(groups[first : last + 1])) and ISSUED.fullmatch(digits) and luhn.is_valid(digits):
            best = last
    return best


def _is_grouped(groups: list[Span]) -> bool:
    """Return whether digits are grouped as on cards: by fours with a remainder, 4-6-5, 4-6-4, 8-8, or in one piece."""
    sizes = [end - start for start, end in groups]
    return len(sizes) == 1 or sizes in ([4, 6, 5], [4, 6, 4], [8, 8], [6, 13]) or (set(sizes[:-1]) == {4} and sizes[-1] <= 5)


def find_social_security_numbers(text: str) -> Iterator[Span]:
    """Yield the spans of social security numbers of the United States that may have been assigned."""
    from stdnum.us import ssn

    for match in SSN.finditer(text):
        digits = re.sub("[^0-9]", "", match.group())
        if ssn.is_valid(f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"):
            yield match.span()
