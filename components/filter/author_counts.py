"""Counts of one author's posts while they are filtered."""

from collections import Counter
from dataclasses import dataclass, field

from mynah.data.funnel import AuthorFunnel


@dataclass(slots=True)
class AuthorCounts:
    """The counts of an author so far; the fields are those of mynah.data.funnel.AuthorFunnel."""

    author: str
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    kept_characters: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    language: str = ""

    def funnel(self) -> AuthorFunnel:
        """Return the author's column of the funnel."""
        return AuthorFunnel(
            author=self.author,
            dropped=dict(self.dropped),
            kept=self.kept,
            kept_characters=self.kept_characters,
            mended=dict(self.mended),
            language=self.language,
        )
