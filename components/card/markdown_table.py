"""Numbers and tables in Markdown."""

from collections.abc import Iterable, Sequence

UNKNOWN = "n/a"


def number(value: float | None) -> str:
    """Four significant digits, thousands apart; `n/a` for what was not measured."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "--:") -> str:
    """A GFM table: the first column to the left, the others as `align` says; the cells are escaped already."""
    line = [":--", *(align for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, line, *rows))
