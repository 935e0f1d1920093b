"""Format numbers and tables in Markdown."""

from collections.abc import Iterable, Sequence

UNKNOWN = "n/a"


def number(value: float | None) -> str:
    """Format a number with four significant digits and thousands separators; `n/a` for None."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "--:") -> str:
    """Return a table in GitHub Flavored Markdown.

    Args:
        header: The column titles.
        rows: The cells of each row, escaped already.
        align: The alignment of all columns but the first, which is left-aligned.

    Returns:
        The table, without a newline at the end.
    """
    line = [":--", *(align for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, line, *rows))
