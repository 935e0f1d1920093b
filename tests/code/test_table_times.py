"""Times of a table: every form that means one moment is read, and one that could mean several, or none, is never passed over in silence."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from fetch_inputs import posts_of, refusal
from hypothesis import given
from hypothesis import strategies as st

from components.fetch.step import fetch
from components.fetch.tables.columns import TableColumns
from components.fetch.tables.times import DateOrders, parse
from mynah.core.errors import InputError
from mynah.data.posts import read_posts

TEN = datetime(2021, 3, 13, 10, tzinfo=UTC)
EPOCH = int(TEN.timestamp())


@pytest.mark.parametrize(
    "value",
    [
        EPOCH, EPOCH * 1000, EPOCH * 1_000_000, EPOCH * 1_000_000_000, float(EPOCH), Decimal(EPOCH), str(EPOCH), f"{EPOCH}000", f"{EPOCH}.0",
        "2021-03-13T10:00:00Z", "2021-03-13 10:00:00 UTC", "2021-03-13 10:00 GMT", "2021-03-13 05:00:00 EST", "2021-03-13 11:00:00 CET",
        "2021-03-13 10:00:00+0000", "2021-03-13T11:00:00.000+01:00", "2021-03-13T11:00+01:00[Europe/Berlin]", "2021/03/13 10:00",
        "2021-03-13 05:00:00 America/New_York", "2021-03-13 10:00:00 (UTC)", "2021-03-13 10:00:00,000", "20210313100000", 44268.4166666667,
        "Sat Mar 13 10:00:00 +0000 2021", "Sat, 13 Mar 2021 10:00:00 GMT", "Sat Mar 13 10:00:00 UTC 2021", "Mar 13, 2021 · 10:00 AM UTC",
        "10:00 AM · Mar 13, 2021", "10:00 AM - 13 Mar 2021", "10:00 a. m. \u2013 Mar 13, 2021", "2021-03-13 - 10:00",
        "Saturday, March 13, 2021 at 10:00 AM", "March 13th, 2021 10:00", "13-Mar-21 10:00", "13 March 2021 10:00",
        "Sat Mar 13 2021 11:00:00 GMT+0100 (Central European Standard Time)", "3/13/2021 10:00", "13/3/2021 10:00", "13.03.2021 10:00",
        "3/13/2021, 10:00:00\u202fAM", "13.3.21 10:00", "2021-03-13 11:00:00 +0100 CET", "Mar 13 2021 10:00AM", " 2021-03-13 10:00 ",
    ],
)  # fmt: skip
def test_a_time_in_any_of_these_forms(value: object) -> None:
    when = parse(value)
    assert when is not None
    assert abs(when - TEN) < timedelta(seconds=1)


@pytest.mark.parametrize(
    "value", ["2021-03-13", "13 Mar 2021", "3/13/2021", "13.03.2021", "20210313", 20210313, 44268, "Mar 13, 2021"]
)
def test_a_date_alone_is_its_beginning(value: object) -> None:
    assert parse(value) == TEN.replace(hour=0)


@pytest.mark.parametrize(
    "value",
    ["sometime", "", None, True, float("nan"), float("inf"), -1, 5, "2021", "May 2021", "2021-13-01", "10:00", "3/1/2021", "3/1/21 0:00",
     "2021-03-13 10:00 IST", "2021-03-13 10:00 BST", "13:00 PM 3/13/2021", "5 minutes ago", "yesterday", "2021-03-13 10:00 x/y", "1.6E+9",
     "2021-03-13 25:00", "31.02.2021", "x" * 200, "9" * 50, "2021-03-13 UTC 2021-03-13", b"2021-03-13", timedelta(1)],
)  # fmt: skip
def test_what_is_no_time_or_several_is_none(value: object) -> None:
    assert parse(value) is None


def column(*values: str) -> list[str | None]:
    orders = DateOrders(lambda: ({"date": value} for value in values))
    return [when and f"{when:%Y-%m-%d}" for when in (orders.parse("date", value) for value in values)]


@pytest.mark.parametrize(
    ("values", "dates"),
    [
        (["3/1/2021", "2/21/2022"], ["2021-03-01", "2022-02-21"]), (["3/1/2021", "21/2/2022"], ["2021-01-03", "2022-02-21"]),
        (["3/1/2021", "4/2/2021"], [None, None]), (["3/1/2021", "2/21/2022", "21/2/2022"], [None, "2022-02-21", "2022-02-21"]),
        (["5/5/2021", "3/1/2021"], ["2021-05-05", None]), (["3/1/21", "2/21/22"], ["2021-03-01", "2022-02-21"]),
        (["3.1.2021"], ["2021-01-03"]), (["3-1-2021", "2-21-2021"], ["2021-03-01", "2021-02-21"]), (["3/1/21", "21/2/20"], [None, None]),
    ],
)  # fmt: skip
def test_the_other_dates_of_a_column_show_the_order_of_day_and_month(values: list[str], dates: list[str | None]) -> None:
    assert column(*values) == dates


@pytest.mark.slow
@given(
    st.lists(st.dates(datetime(1995, 1, 1).date(), datetime(2090, 1, 1).date()), min_size=1, max_size=6),
    st.sampled_from(["%d/%m/%Y", "%m/%d/%Y"]),
)
def test_no_date_is_ever_read_in_the_wrong_order(days: list[datetime], form: str) -> None:
    found = column(*(day.strftime(form) for day in days))
    assert all(date in (None, day.isoformat()) for day, date in zip(days, found, strict=True))
    if any(day.day > 12 for day in days):
        assert None not in found


@pytest.mark.slow
@given(st.text(max_size=60) | st.from_regex(r"[\d/:. -]{1,30}[a-z +]{0,10}", fullmatch=True))
def test_any_text_is_a_time_or_none(text: str) -> None:
    when = parse(text)
    assert when is None or when.tzinfo is UTC


def table(folder: Path, *dates: object) -> Path:
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"text": str(n), "author": "ann", "date": each}) + "\n" for n, each in enumerate(dates))
    )
    return folder / "a.jsonl"


def test_the_newest_posts_are_kept_by_times_of_a_spreadsheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    posts = posts_of(tmp_path, table(tmp_path, "3/1/2021 0:00", "2/21/2021 0:00", "1/1/2021 0:00"), limit=2)
    assert [post.text for post in posts] == ["0", "1"]
    assert "the dates in 'date', such as '3/1/2021 0:00', are read as month/day/year" in capsys.readouterr().err


@pytest.mark.parametrize("dates", [["sometime", "2020-01-01"], ["3/1/2021", "4/1/2021"]])
def test_a_time_that_cannot_be_read_is_counted_and_with_a_limit_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dates: list[str]
) -> None:
    path = table(tmp_path, *dates)
    posts_of(tmp_path, path)
    said = capsys.readouterr().err
    assert "cannot be read" in said
    assert repr(dates[0]) in said
    assert "cannot be read" in refusal_beside(tmp_path, path)


def refusal_beside(folder: Path, path: Path) -> str:
    (folder / "limited").mkdir()
    (folder / "limited" / path.name).write_bytes(path.read_bytes())
    return refusal(folder / "limited", folder / "limited" / path.name, limit=1)


def test_posts_without_a_time_count_as_the_oldest_and_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    posts = posts_of(tmp_path, table(tmp_path, "2021-01-01", "2020-01-01", "", None), limit=2)
    assert [post.text for post in posts] == ["0", "1"]
    assert "neither a number as their id nor a time" in " ".join(capsys.readouterr().err.split())


def test_a_date_and_a_time_of_day_in_two_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("date,time,text\n2021-03-13,10:00:00,x\n3/13/2021,10:00 AM,y\n")
    assert [post.created_at for post in posts_of(tmp_path, tmp_path / "a.csv")] == [TEN, TEN]


def test_the_next_column_is_read_where_the_first_is_empty_or_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        f"created_at,timestamp_ms,Created Utc,text\nnone,{EPOCH}000,,x\n,,{EPOCH}.0,y\nsoon,{EPOCH}000,,z\n"
    )
    assert [post.created_at for post in posts_of(tmp_path, tmp_path / "a.csv")] == [TEN] * 3


def test_a_named_time_column_replaces_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("date,gesendet,text\n2001-01-01,13.03.2021 10:00,x\n")
    fetch([str(tmp_path / "a.csv")], tmp_path / "out", basis="permission", columns=TableColumns(time="Gesendet"))
    assert [post.created_at for post in read_posts(tmp_path / "out")] == [TEN]
    with pytest.raises(InputError, match="no column 'sent'"):
        fetch([str(tmp_path / "a.csv")], tmp_path / "out2", basis="permission", columns=TableColumns(time="sent"))
