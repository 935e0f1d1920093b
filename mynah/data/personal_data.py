"""Find personal data in texts: e-mail addresses, phone, bank account, card and social security numbers, and IP addresses.

Numbers with a checksum are matched only when it is valid (IBAN: ISO 13616, mod 97; cards: ISO/IEC 7812, Luhn), and phone numbers only when
a country assigns them, by Google's libphonenumber. Years, scores, prices and ids of posts are not matched. Patterns see the folded text
(mynah.data.text_folding): blanks, hyphens and digits of every kind, line breaks, and what stands invisibly between.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mynah.data.personal_addresses import find_emails, find_ip_addresses, find_spelled_emails
from mynah.data.personal_numbers import find_cards, find_ibans, find_social_security_numbers
from mynah.data.phone_numbers import find_dialled, find_international, find_named, find_national
from mynah.data.text_folding import fold

# All personal data has one of these, and most texts have none: an "@" behind something, or such a word in brackets; seven digits with little
# between them, or the beginning of an account number; two colons with little between them.
AT = re.compile(r"[@\uff20\ufe6b](?<=\S.)(?=\S)")  # a pattern that begins with its rarest character is found fast
BRACKETED_AT = re.compile(r"[(\[{<] ?(?:[aAäÄ][tT]|[aA][rR][rR][oO][bB][aA]|@)")
NUMBER = re.compile(
    r"\d(?:(?:[\W\u30fc\uff70\u3164]{0,12}\d){6}"
    r"|(?<=[A-Za-z]{2}[0-9])(?:(?<![A-Za-z0-9].{3})|(?<=[iI][bB][aA][nN].{3}))[0-9][ .-]{0,3}[A-Za-z0-9]{2})",
    re.DOTALL,
)
COLONS = re.compile(r"[:\uff1a][0-9a-fA-F]{0,4}[:\uff1a]")
MAX_ROUNDS = 20  # of finding what stood too close to something else


@dataclass(frozen=True, slots=True)
class PersonalDatum:
    """Personal data at text[start:end]. `kind`: email, iban, card, ip, ssn or phone."""

    kind: str
    start: int
    end: int
    text: str

    @property
    def value(self) -> str:
        """The datum in normalized form: without case, blanks and insignificant punctuation."""
        plain = fold(self.text).text
        return f"{self.kind}:{plain.casefold() if self.kind in ('email', 'ip') else re.sub('[^0-9A-Za-z]', '', plain).upper()}"


def find(text: str) -> list[PersonalDatum]:
    """Return all personal data in `text`, ordered and without overlaps. Never raises.

    Nothing is found in a text where each datum has been replaced by a word in brackets.
    """
    if not (AT.search(text) or BRACKETED_AT.search(text) or NUMBER.search(text) or COLONS.search(text)):
        return []
    folded = fold(text)
    rest, data = folded.text, list[PersonalDatum]()
    for _ in range(MAX_ROUNDS):
        count = len(data)
        for kind, finder in RULES:
            if spans := sorted(finder(rest)):
                rest = _cover(rest, spans)
                places = (folded.original(*span) for span in spans)
                data += (PersonalDatum(kind, start, end, text[start:end]) for start, end in places)
        if len(data) == count:
            break
    return sorted(data, key=lambda datum: datum.start)


def values(texts: Iterable[str]) -> frozenset[str]:
    """Return the personal data in `texts`, each as its `value`."""
    return frozenset(datum.value for text in texts for datum in find(text))


def _cover(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace each span by brackets of the same length, as in a text whose personal data has been replaced by words in brackets."""
    parts, position = list[str](), 0
    for start, end in spans:
        parts += text[position:start], "[", "_" * (end - start - 2), "]"
        position = end
    return "".join((*parts, text[position:]))


Finder = Callable[[str], Iterator[tuple[int, int]]]
# In order of certainty: what one has found the next ones do not see.
RULES: tuple[tuple[str, Finder], ...] = (
    ("email", find_emails), ("email", find_spelled_emails), ("iban", find_ibans), ("card", find_cards), ("ip", find_ip_addresses),
    ("phone", find_international), ("phone", find_dialled), ("ssn", find_social_security_numbers), ("phone", find_national),
    ("phone", find_named),
)  # fmt: skip
