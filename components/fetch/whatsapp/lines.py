"""Parse the lines of a chat that WhatsApp exported as text: `[31.01.23, 21:15:03] Ann: Hello` (iPhone), `1/31/23, 9:15 PM - Ann: Hello` (Android).

Date and time are in the form of the phone's language, so the order of day and month must be found out from all lines of a chat. WhatsApp
documents no form; a line without a date continues the message before it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from components.fetch.whatsapp.placeholders import MARKS, written

BLANK = r"[ \xa0\u202f]"
MARK = rf"[{MARKS}]{{0,2}}"  # also within dates in Arabic and Hebrew
DATE = rf"\d{{1,4}}{MARK}[./-] ?{MARK}\d{{1,2}}{MARK}[./-] ?{MARK}\d{{1,4}}|\d{{4}}年\d{{1,2}}月\d{{1,2}}日"
KOREAN_DATE = r"\d{4}년 \d{1,2}월 \d{1,2}일"  # of Android, where a comma and no hyphen stands before the name
HEADER = re.compile(
    rf"[{MARKS}]{{0,4}}(?P<open>\[)?(?P<date>{DATE}|(?P<korean>{KOREAN_DATE}))\.?[,،]?{BLANK}"
    # A word before the time: at, or the half of the day in Chinese, Japanese and Korean.
    rf"(?:(?P<word>[^\W\d][^\d\[\]-]{{0,8}}?){BLANK}?)?"
    rf"(?P<time>\d{{1,2}}[:.h]\d{{2}}(?:[:.]\d{{2}})?)(?P<half>{BLANK}?[^\d\s\[\],-][^\d\[\],-]{{0,9}}?)?"
    rf"(?(open)\]|(?(korean),|{BLANK}[-–]))(?: (?P<rest>.*)|$)",  # noqa: RUF001
    re.DOTALL,
)
MAX_CHARACTERS = 70_000  # of a message; WhatsApp allows 65,536
# The halves of the day without dots and blanks, of the languages that WhatsApp writes with a 12-hour clock.
MORNING = {"am", "a", "πμ", "上午", "凌晨", "早上", "清晨", "오전", "午前", "ص", "قظ", "पूर्वाह्न", "öö", "pg", "sa", "pd"}
AFTERNOON = {"pm", "p", "μμ", "下午", "中午", "晚上", "오후", "午後", "م", "بظ", "अपराह्न", "ös", "ptg", "ch", "md"}
SENDER = re.compile(rf"[{MARKS}]{{0,4}}(?:~{BLANK})?(?P<name>[^:\n]{{1,100}}): ?(?P<text>.*)", re.DOTALL)
BUDDHIST_YEARS = 543  # by which Thailand's calendar is ahead


@dataclass(frozen=True, slots=True)
class ChatLine:
    """The first line of a message: the three numbers of its date, hour, minute and second, who wrote it ("" for WhatsApp), and the text."""

    date: tuple[int, int, int]
    time: tuple[int, int, int]
    sender: str
    text: str


@dataclass(slots=True)
class DateOrder:
    """Finds out whether the day or the month comes first, from all dates of a chat.

    Attributes:
        day_first: Dates that can only be read with the day first.
        month_first: Dates that can only be read with the month first.
        ambiguous: Dates that can be read in both ways, and are others then.
        backwards: How often the time would go backwards: with the day first, and with the month first.
        previous: The dates before, read in both ways.
    """

    day_first: int = 0
    month_first: int = 0
    ambiguous: int = 0
    backwards: list[int] = field(default_factory=lambda: [0, 0])
    previous: list[tuple[int, int, int]] = field(default_factory=lambda: [(0, 0, 0), (0, 0, 0)])

    def add(self, date: tuple[int, int, int]) -> None:
        """Take note of the next date."""
        first, second, year = date
        if first > 31:
            return  # the year comes first
        self.day_first += first > 12
        self.month_first += second > 12
        self.ambiguous += first != second and max(first, second) <= 12
        for way, ordered in enumerate(((year, second, first), (year, first, second))):
            self.backwards[way] += ordered < self.previous[way]
            self.previous[way] = ordered

    @property
    def is_told(self) -> bool:
        """Whether the dates tell which comes first, or are the same both ways."""
        return not self.ambiguous or self.day_first != self.month_first or self.backwards[0] != self.backwards[1]

    @property
    def is_month_first(self) -> bool:
        """Whether the month comes first; with the day first where nothing tells."""
        if self.day_first != self.month_first:
            return self.month_first > self.day_first
        return self.backwards[1] < self.backwards[0]


def parse_line(line: str) -> ChatLine | None:
    """Parse the first line of a message; None for a line that continues one."""
    header = HEADER.match(line)
    if not header:
        return None
    first, second, third = (int(number) for number in re.findall(r"\d+", header["date"]))
    hour, minute, *seconds = (int(number) for number in re.findall(r"\d+", header["time"]))
    halves = {re.sub(r"[\s.,]+", "", header[part] or "").casefold() for part in ("word", "half")}
    if hour <= 12 and halves & (MORNING | AFTERNOON):
        hour = hour % 12 + (12 if halves & AFTERNOON else 0)
    sender = SENDER.match(header["rest"] or "")
    name, text = (sender["name"].strip(), sender["text"]) if sender else ("", header["rest"] or "")
    return ChatLine((first, second, third), (hour, minute, seconds[0] if seconds else 0), name, text)


def time_of(line: ChatLine, is_month_first: bool) -> datetime | None:
    """Return the time of a message; the phone's clock is taken as UTC. None for a date that does not exist."""
    first, second, third = line.date
    year, month, day = (
        (first, second, third) if first > 31 else (third, first, second) if is_month_first else (third, second, first)
    )
    year += 2000 if year < 100 else -BUDDHIST_YEARS if year > 2400 else 0
    try:
        return datetime(year, month, day, *line.time, tzinfo=UTC)
    except ValueError:
        return None


def messages(lines: Iterable[str]) -> Iterator[tuple[ChatLine, str]]:
    """Yield the messages of people, each with its whole text; "" in place of a picture or a deleted message."""
    current: ChatLine | None = None
    texts: list[str] = []
    size = 0
    for line in lines:
        if parsed := parse_line(line):
            if current and current.sender:
                yield current, written("\n".join(texts))
            current, texts, size = parsed, [parsed.text], len(parsed.text)
        elif current and size < MAX_CHARACTERS:
            texts.append(line)
            size += len(line) + 1
    if current and current.sender:
        yield current, written("\n".join(texts))
