"""Chats of Telegram and WhatsApp: one person's messages, whose name is stated, and nobody else's."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fetch_inputs import FEBRUARY
from foreign_exports import TELEGRAM, WHATSAPP
from hypothesis import given
from hypothesis import strategies as st
from x_exports import as_folder, as_zip

from components.fetch.step import fetch
from components.fetch.whatsapp.lines import DateOrder, messages, parse_line, time_of
from mynah.core.errors import InputError
from mynah.data.posts import Entity, Kind, Post, read_posts


def posts_of(tmp_path: Path, source: Path, author: str = "Ann B") -> list[Post]:
    fetch([str(source)], tmp_path / "out", basis="own-account", author=author)
    return list(read_posts(tmp_path / "out"))


def refused(tmp_path: Path, source: Path, author: str = "", basis: str = "own-account") -> str:
    with pytest.raises(InputError) as caught:
        fetch([str(source)], tmp_path / "out", basis=basis, author=author)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def telegram(tmp_path: Path, value: object, name: str = "result.json") -> Path:
    (tmp_path / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    return tmp_path / name


def test_one_persons_messages_of_a_chat_of_telegram(tmp_path: Path) -> None:
    posts = posts_of(tmp_path, telegram(tmp_path, TELEGRAM))
    assert [(post.id, post.text, post.author) for post in posts] == [
        ("77-2", "See https://x.example ok", "Ann_B"),
        ("77-5", "I see", "Ann_B"),
    ]
    assert posts[0].created_at == FEBRUARY and posts[0].entities == (Entity(4, 21, "url"),)
    assert (posts[1].kind, posts[1].reply_to) == (Kind.REPLY, "77-3")
    assert posts[1].edited_at == datetime(2023, 2, 1, 12, 1, 40, tzinfo=UTC)


@pytest.mark.parametrize("author", ["ann b", " Ann B ", "@Ann_B", "user1"])
def test_the_author_is_found_however_the_name_is_written(tmp_path: Path, author: str) -> None:
    assert len(posts_of(tmp_path, telegram(tmp_path, TELEGRAM), author)) == 2


def test_all_chats_of_an_account_of_telegram(tmp_path: Path) -> None:
    other = copy.deepcopy(TELEGRAM) | {"id": 88, "name": 'A "messages": [ chat'}
    other["messages"][1]["text"] = 'He said "messages": [] and "id": 5, "messages": ['
    whole = {"about": "x", "chats": {"about": "x", "list": [TELEGRAM, other]}, "left_chats": {"list": []}}
    posts = posts_of(tmp_path, telegram(tmp_path, whole))
    assert [post.id for post in posts] == ["77-2", "77-5", "88-2", "88-5"]
    assert posts[2].text == other["messages"][1]["text"]


def test_messages_without_an_id_of_their_sender_need_an_author_too(tmp_path: Path) -> None:
    messages_ = [{"id": 1, "type": "message", "from": "Bob", "text": "His secret"}]
    assert "--author" in refused(tmp_path, telegram(tmp_path, {"id": 7, "messages": messages_}))


@pytest.mark.parametrize("author", ["", "Carl"])
def test_without_an_author_that_the_chat_has_nothing_is_read_and_those_it_has_are_listed(tmp_path: Path, author: str) -> None:
    for source in (telegram(tmp_path, TELEGRAM), whatsapp(tmp_path, "ios")):
        message = refused(tmp_path, source, author)
        assert "--author" in message and "'Ann B' (2)" in message and "'Bob' (1)" in message
        assert "secret" not in message


def test_a_chat_needs_a_basis_because_anybody_in_it_can_export_it(tmp_path: Path) -> None:
    for source in (telegram(tmp_path, TELEGRAM), whatsapp(tmp_path, "ios")):
        assert "--basis" in refused(tmp_path, source, "Ann B", "")


def test_an_export_in_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    files = {"result.json": json.dumps(TELEGRAM), "photos/a.jpg": "x", "messages.html": "<html>"}
    assert len(posts_of(tmp_path, as_folder(tmp_path / "a", files, "ChatExport_2023-02-01/"))) == 2
    assert len(posts_of(tmp_path, as_zip(tmp_path / "a.zip", files, "ChatExport_2023-02-01/"))) == 2


def test_a_message_of_telegram_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ann = {"type": "message", "from": "Ann B"}
    wrong = [
        5,
        ann | {"text": "No id"},
        ann | {"from": 5, "text": "x"},
        ann | {"text": {"a": 1}},
        ann | {"id": 9, "text": [5, None, "ok"]},
    ]
    posts = posts_of(tmp_path, telegram(tmp_path, TELEGRAM | {"messages": TELEGRAM["messages"] + wrong}))
    assert [post.text for post in posts] == ["See https://x.example ok", "I see", "ok"]
    assert "skipped 1 post (element 8" in " ".join(capsys.readouterr().err.split())


def whatsapp(tmp_path: Path, phone: str, name: str = "_chat.txt") -> Path:
    (tmp_path / name).write_text(WHATSAPP[phone], "utf-8")
    return tmp_path / name


@pytest.mark.parametrize(("phone", "second"), [("ios", 4), ("android", 0)])
def test_one_persons_messages_of_a_chat_of_whatsapp(tmp_path: Path, phone: str, second: int) -> None:
    posts = posts_of(tmp_path, whatsapp(tmp_path, phone))
    assert [post.text for post in posts] == ["Hello there\nand a second line", "Corrected"]
    assert [post.created_at for post in posts] == [
        datetime(2023, 1, 31, 21, 15, second, tzinfo=UTC),
        datetime(2023, 2, 2, 8, tzinfo=UTC),
    ]
    assert {post.author for post in posts} == {"Ann_B"} and len({post.id for post in posts}) == 2
    packed = as_zip(tmp_path / "WhatsApp Chat - Bob.zip", {"_chat.txt": WHATSAPP[phone], "a.jpg": "x"})
    assert posts_of(tmp_path, packed) == posts


@pytest.mark.parametrize(
    ("line", "sender", "text"),
    [
        ("[2023-01-31, 21:15:03] Ann: x", "Ann", "x"),
        ("2023/01/31, 21:15 - Ann: x: y", "Ann", "x: y"),
        ("31/01/2023 21:15 - Ann: ", "Ann", ""),
        ("31.01.23, 21:15 - \u200eAnn: x", "Ann", "x"),
        ("1/31/23, 9:15 p. m. - Ann: x", "Ann", "x"),
        ("31-01-2023 21.15 - ~ Ann: x", "Ann", "x"),
        ("31/01/2023, 21:15 - Ann left", "", "Ann left"),
    ],
)
def test_the_forms_of_a_line_of_whatsapp(line: str, sender: str, text: str) -> None:
    parsed = parse_line(line)
    assert parsed and (parsed.sender, parsed.text) == (sender, text)
    when = time_of(parsed, line.startswith("1/31"))
    assert when and (when.year, when.month, when.day, when.hour, when.minute) == (2023, 1, 31, 21, 15)


@pytest.mark.parametrize(
    "line", ["", "Ann: x", "12:15 - Ann: x", "see 1/2/23, 9:15 PM - Ann: x", "[x] Ann: y", "1/2/23 and 9:15"]
)
def test_what_is_no_first_line_continues_a_message(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("dates", "is_month_first"),
    [
        ([(1, 2, 23), (13, 2, 23)], False),
        ([(1, 2, 23), (2, 13, 23)], True),
        ([(1, 5, 23), (1, 6, 23), (2, 1, 23)], True),  # with the day first, time would go backwards
        ([(5, 1, 23), (6, 1, 23), (1, 2, 23)], False),
        ([(1, 1, 23)], False),
        ([(2023, 1, 31)], False),
    ],
)
def test_whether_the_month_comes_first_is_told_by_all_dates(dates: list[tuple[int, int, int]], is_month_first: bool) -> None:
    order = DateOrder()
    for date in dates:
        order.add(date)
    assert order.is_month_first == is_month_first


@pytest.mark.parametrize(
    ("dates", "is_told"),
    [("1/2/23 3/3/23", False), ("1/2/23 13/2/23", True), ("1/5/23 1/6/23 2/1/23", True), ("3/3/23", True), ("2023-02-01", True)],
)
def test_dates_that_do_not_tell_are_read_with_the_day_first_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dates: str, is_told: bool
) -> None:
    (tmp_path / "_chat.txt").write_text("".join(f"[{date}, 10:00:00] Ann: hello\n" for date in dates.split()))
    assert len(posts_of(tmp_path, tmp_path / "_chat.txt", "Ann")) == len(dates.split())
    assert ("are read with the day first" in " ".join(capsys.readouterr().err.split())) is not is_told


LINES = st.lists(
    st.sampled_from(
        [
            "1/2/23, 9:15 PM - Ann: x",
            "1/2/23, 9:15 PM - Bob: y",
            "[1.2.23, 9:15:00] Ann: z",
            "more",
            "\u200e<x>",
            "",
            "99/99/23, 99:99 - Ann: q",
        ]
    )
    | st.text(max_size=40),
    max_size=12,
)


@given(LINES)
def test_any_lines_become_messages_of_those_who_wrote_them(lines: list[str]) -> None:
    found = list(messages(lines))
    senders = [parsed.sender for line in lines if (parsed := parse_line(line)) and parsed.sender]
    assert [line.sender for line, _ in found] == senders
    for line, _ in found:
        time_of(line, True)
