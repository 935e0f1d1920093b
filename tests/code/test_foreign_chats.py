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
        ("31/1/23, 9:15 p.\u00a0m. - Ann: x", "Ann", "x"),
        ("[31/1/23, 9:15:03\u202fPM] Ann: x", "Ann", "x"),
        ("31.01.23, 21:15 Uhr - Ann: x", "Ann", "x"),
        ("31.1.2023 klo 21.15 - Ann: x", "Ann", "x"),
        ("31.01.23 \u0433., 21:15 - Ann: x", "Ann", "x"),
        ("31/01/23 à 21:15 - Ann: x", "Ann", "x"),
        ("2023/1/31 下午9:15 - Ann: x", "Ann", "x"),
        ("[2023. 1. 31. 오후 9:15:03] Ann: x", "Ann", "x"),
        ("2023년 1월 31일 오후 9:15, Ann : x", "Ann", "x"),
        ("٣١\u200f/١\u200f/٢٠٢٣، ٩:١٥ م - Ann: x", "Ann", "x"),  # noqa: RUF001
        ("31/1/23, 9:15 अपराह्न - Ann: x", "Ann", "x"),
        ("31/1/2566 21:15 - Ann: x", "Ann", "x"),
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


@pytest.mark.parametrize(
    ("time", "hour"),
    [("12:05 AM", 0), ("12:05 PM", 12), ("1:05 a. m.", 1), ("11:05 p.m.", 23), ("12:05 Uhr", 12), ("0:05", 0), ("上午9:05", 9)],
)
def test_the_halves_of_the_day(time: str, hour: int) -> None:
    parsed = parse_line(f"31/1/23, {time} - Ann: x")
    assert parsed and parsed.time == (hour, 5, 0)


@pytest.mark.parametrize(
    "text",
    ["<Media omitted>", "<Medien ausgeschlossen>", "image omitted", "Bild weggelassen", "imagen omitida", "image absente", "\u200eimage omitted",
     "\u202aVideo note omitted\u202c", "Данное сообщение удалено", "Bu mesaj silindi", "Sie haben diese Nachricht gelöscht.", "此消息已删除",
     "Pesan ini telah dihapus", "<View once voice message omitted>", "null", "location: https://maps.google.com/?q=1,2", "Missed voice call",
     "IMG-1.jpg (Datei angehängt)", "IMG 20.jpg (file attached)", "Verpasster Sprachanruf", "Waiting for this message. This may take a while.",
     "POLL:\nTea?\nOPTION: yes (1 vote)"],
)  # fmt: skip
def test_what_whatsapp_writes_itself_is_no_post(tmp_path: Path, text: str) -> None:
    (tmp_path / "_chat.txt").write_text(
        f"31.01.23, 21:15 - Ann: {text}\n31.01.23, 21:16 - Ann: Mine\n31.01.23, 21:17 - Bob: {text}\n"
    )
    assert [post.text for post in posts_of(tmp_path, tmp_path / "_chat.txt", "Ann")] == ["Mine"]


@pytest.mark.parametrize(
    "text", ["Null", "I <3 you>", "The image omitted a bird", "see a.jpg (and me)", "Video", "I missed a voice call"]
)
def test_what_a_person_writes_about_pictures_is_a_post(tmp_path: Path, text: str) -> None:
    (tmp_path / "_chat.txt").write_text(f"31.01.23, 21:15 - Ann: {text}\n")
    assert [post.text for post in posts_of(tmp_path, tmp_path / "_chat.txt", "Ann")] == [text]


@pytest.mark.parametrize(
    "line", ['Ann changed the subject to: "Ann: x"', "Ann hat die Gruppe erstellt", "Ann: \u200eAnn created this group"]
)
def test_a_line_of_the_system_is_no_post(tmp_path: Path, line: str) -> None:
    (tmp_path / "_chat.txt").write_text(f"31.01.23, 21:15 - Ann: Mine\n31.01.23, 21:16 - {line}\n")
    assert [post.text for post in posts_of(tmp_path, tmp_path / "_chat.txt", "Ann")] == ["Mine"]


def test_several_chats_in_one_archive(tmp_path: Path) -> None:
    texts = {"a.txt": "31.01.23, 21:15 - Ann: one\n", "b/_chat.txt": "[1/31/23, 9:15:03 PM] Ann: two\n", "c.txt": "My diary"}
    posts = posts_of(tmp_path, as_zip(tmp_path / "a.zip", texts), "Ann")
    assert [(post.text, f"{post.created_at:%m-%d %H}") for post in posts] == [("one", "01-31 21"), ("two", "01-31 21")]
    chats = {f"ChatExport_{number}/result.json": json.dumps(TELEGRAM | {"id": number}) for number in (7, 8)}
    assert [post.id for post in posts_of(tmp_path, as_zip(tmp_path / "b.zip", chats))] == ["7-2", "7-5", "8-2", "8-5"]


def message(number: int, name: str | None, sender: str | int, text: str) -> dict[str, object]:
    return {"id": number, "type": "message", "from": name, "from_id": sender, "text": text}


@pytest.mark.parametrize("senders", [("user1", "user2"), (1, 2)])
def test_two_people_of_one_name_are_told_apart_by_their_ids(tmp_path: Path, senders: tuple[str | int, str | int]) -> None:
    lines = [message(1, "Ann", senders[0], "one"), message(2, "Ann", senders[1], "two"), message(3, "Bob", "user3", "three")]
    path = telegram(tmp_path, {"id": 7, "messages": lines})
    refusal = refused(tmp_path, path, "Ann")
    assert "2 people called 'Ann'" in refusal and "user1 (1), user2 (1)" in refusal
    assert "'Ann, user2' (1)" in refused(tmp_path, path) and "'Bob' (1)" in refused(tmp_path, path)
    for author in ("user2", "2"):
        assert [(post.text, post.author) for post in posts_of(tmp_path, path, author)] == [("two", "Ann")]


def test_one_who_changed_the_name_is_one_person(tmp_path: Path) -> None:
    lines = [message(1, "Ann", "user1", "one"), message(2, "Ann B", "user1", "two"), message(3, None, "user1", "three")]
    posts = posts_of(tmp_path, telegram(tmp_path, {"id": 7, "messages": lines}))
    assert [post.text for post in posts] == ["one", "two", "three"] and len({post.author for post in posts}) == 1


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
