"""What the reader of a table could not read or had to assume, counted, for one line each at the end."""

from dataclasses import dataclass, field

from components.fetch.tables.values import shown
from mynah.core.progress import notify


@dataclass(slots=True)
class Finding:
    """One kind of finding: how often, and where first."""

    count: int = 0
    place: str = ""
    value: str = ""


@dataclass(slots=True)
class Findings:
    """The findings about the table `label`."""

    label: str
    unread_times: Finding = field(default_factory=Finding)
    lost_ids: Finding = field(default_factory=Finding)
    repaired_ids: Finding = field(default_factory=Finding)
    restored_ids: Finding = field(default_factory=Finding)
    lost_replies: Finding = field(default_factory=Finding)
    cut_texts: Finding = field(default_factory=Finding)
    without_author: Finding = field(default_factory=Finding)

    def add(self, finding: Finding, place: str, value: object = "") -> None:
        """Count one more; the first one's place and value are shown."""
        if not finding.count:
            finding.place, finding.value = place.removeprefix(f"{self.label}, "), shown(value)
        finding.count += 1

    def report(self) -> None:
        """Print what was found, a line for each kind."""
        sentences = {
            "{} that cannot be read, so that the posts have none": (self.unread_times, "time"),
            "{} that lost their last digits, as in a spreadsheet, so that the rows' numbers are used": (self.lost_ids, "id"),
            "{} of answered posts that lost their last digits, so that these replies are joined to nothing": (
                self.lost_replies,
                "id",
            ),
            "{} whose text is cut off, as the rows say (truncated)": (self.cut_texts, "post"),
        }
        for sentence, (finding, noun) in sentences.items():
            if finding.count:
                self._notify(sentence.format(_number(finding.count, noun)), finding, "warning")
        if self.repaired_ids.count:
            number = _number(self.repaired_ids.count, "id")
            self._notify(f"{number} written as decimals, read as whole numbers", self.repaired_ids, "info")

        if self.restored_ids.count:
            number = _number(self.restored_ids.count, "rounded id")
            self._notify(f"{number} read from another column that has all digits", self.restored_ids, "info")

    def _notify(self, sentence: str, finding: Finding, level: str) -> None:
        first = f"{finding.place}: {finding.value!r}" if finding.value else finding.place
        notify(f"{self.label}: has {sentence} ({'the first in ' if finding.count > 1 else ''}{first})", level)


def _number(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
