"""Exports of Reddit, Threads, Instagram and Discord: an account's own posts, and nothing else."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fetch_inputs import FEBRUARY, refusal
from foreign_exports import DISCORD, INSTAGRAM, REDDIT, THREADS
from x_exports import as_folder, as_zip

from components.fetch.meta.escapes import mend
from components.fetch.step import fetch
from mynah.data.posts import Kind, Post, read_posts


def own_posts(tmp_path: Path, files: dict[str, str], top: str = "") -> list[Post]:
    """The posts of an export, the same from a zip and from a folder, without a basis that anybody states."""
    fetch([str(as_folder(tmp_path / "mine", files, top))], tmp_path / "out")
    by_folder = list(read_posts(tmp_path / "out"))
    fetch([str(as_zip(tmp_path / "mine.zip", files, top))], tmp_path / "out")
    assert list(read_posts(tmp_path / "out")) == by_folder
    return by_folder


@pytest.mark.parametrize("top", ["", "export/"])
def test_reddits_comments_and_posts(tmp_path: Path, top: str) -> None:
    posts = own_posts(tmp_path, REDDIT, top)
    assert [(post.id, post.text) for post in posts] == [
        ("t1_c1", "I think so, too"), ("t1_c2", "Yes & no"), ("t3_p1", 'A wren at last\n\nIt sat "there"'), ("t3_p2", "Only a title"),
    ]  # fmt: skip
    assert {post.author for post in posts} == {"wren_b"}
    assert posts[0].created_at == FEBRUARY
    assert [(post.kind, post.reply_to, post.reply_to_self) for post in posts[:3]] == [
        (Kind.REPLY, "t3_p1", True),
        (Kind.REPLY, "t1_c1", True),
        (Kind.ORIGINAL, "", False),
    ]


def test_a_csv_of_reddit_by_itself_needs_a_basis_and_takes_its_author_from_the_command(tmp_path: Path) -> None:
    (tmp_path / "comments.csv").write_text(REDDIT["comments.csv"])
    assert "basis" in refusal_without_basis(tmp_path, tmp_path / "comments.csv")
    [provenance] = fetch([str(tmp_path / "comments.csv")], tmp_path / "out", basis="permission", author="u/wren")
    assert (provenance.author, provenance.posts, provenance.basis) == ("u_wren", 2, "permission")


def refusal_without_basis(tmp_path: Path, source: Path, author: str = "") -> str:
    with pytest.raises(Exception, match="basis") as caught:
        fetch([str(source)], tmp_path / "out", author=author)
    return str(caught.value)


def test_a_row_of_reddit_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = REDDIT | {"comments.csv": REDDIT["comments.csv"] + ',x,,,b,0,,,"No id",\nc5,x,,,b,0,,,"A"b,\n'}
    assert len(own_posts(tmp_path, files)) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "skipped 2 posts (comments.csv, line 7: has no id; comments.csv, line 8: is not valid CSV" in said


@pytest.mark.parametrize("author", ["", "ann"])
def test_an_author_after_the_files_name_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], author: str) -> None:
    path = as_zip(
        tmp_path / "mine.zip", {name: text for name, text in REDDIT.items() if name in ("comments.csv", "posts.csv")}, ""
    )
    [provenance] = fetch([str(path)], tmp_path / "out", author=author)
    assert provenance.author == (author or "mine")
    assert ("count as @mine's, after the file's name" in " ".join(capsys.readouterr().err.split())) is not bool(author)


def test_threads_and_its_bytes_as_characters(tmp_path: Path) -> None:
    [post] = own_posts(tmp_path, THREADS)
    assert (post.text, post.author, post.kind) == ("Café au lait 😊", "wren", Kind.ORIGINAL)
    assert post.created_at == datetime(2023, 7, 6, 8, 47, tzinfo=UTC)
    assert post.id.startswith("threads-20230706T084700-")


def test_instagrams_posts_and_comments_and_no_stories(tmp_path: Path) -> None:
    posts = own_posts(tmp_path, INSTAGRAM)
    assert {post.text: post.kind for post in posts} == {
        "Γεια": Kind.ORIGINAL, "Two pictures": Kind.ORIGINAL, "So lovely": Kind.REPLY, "Schön": Kind.REPLY,
    }  # fmt: skip
    assert all(post.created_at and post.created_at.year == 2020 for post in posts)
    assert len({post.id for post in posts}) == 4


def test_both_networks_in_one_export_a_file_by_itself_and_the_author(tmp_path: Path) -> None:
    assert len(own_posts(tmp_path, THREADS | INSTAGRAM)) == 5
    path = as_zip(tmp_path / "instagram-the.wren-2024-05-01-abc.zip", INSTAGRAM)
    assert fetch([str(path)], tmp_path / "out")[0].author == "the.wren"
    single = tmp_path / "threads_and_replies.json"
    single.write_text(next(iter(THREADS.values())))
    assert fetch([str(single)], tmp_path / "out", author="wren")[0].author == "wren"
    old = {"comments.json": json.dumps({"media_comments": [["2019-01-01T10:00:00+00:00", "Nice one", "bob"]]})}
    assert [post.text for post in own_posts(tmp_path / "old", old)] == ["Nice one"]


@pytest.mark.parametrize("is_list", [False, True])
def test_instagrams_exports_before_2021(tmp_path: Path, is_list: bool) -> None:
    picture = {"taken_at": "2019-01-01T10:00:00", "location": "", "path": "photos/1.jpg"}
    others = {name: [picture | {"caption": f"Not {name}"}] for name in ("stories", "profile", "direct")}
    comments = [["2019-01-02T10:00:00+00:00", "Nice one", "bob"]]
    media = others | {
        "photos": [picture | {"caption": 'Caf\u00e9 "photos": ['}, picture | {"caption": ""}],
        "videos": [picture | {"caption": "Waves"}],
    }
    files = {
        "media.json": json.dumps(media), "comments.json": json.dumps(comments if is_list else {"media_comments": comments}),
        "profile.json": json.dumps({"username": "wren", "name": "Wren", "email": "wren@example.org"}),
    }  # fmt: skip
    posts = own_posts(tmp_path, files, "wren_20200101/")
    assert [(post.text, post.kind, post.author) for post in posts] == [
        ('Café "photos": [', Kind.ORIGINAL, "wren"), ("Waves", Kind.ORIGINAL, "wren"), ("Nice one", Kind.REPLY, "wren"),
    ]  # fmt: skip
    assert posts[0].created_at == datetime(2019, 1, 1, 10, tzinfo=UTC)


def test_an_element_of_meta_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [
        "x",
        {"media": "x"},
        {"media": [5]},
        {"title": 5, "creation_timestamp": 10**30},
        {"title": "No time", "creation_timestamp": 10**30},
    ]
    posts = json.loads(INSTAGRAM["your_instagram_activity/media/posts_1.json"]) + wrong
    texts = [post.text for post in own_posts(tmp_path, {"media/posts_1.json": json.dumps(posts)})]
    assert texts == ["Γεια", "Two pictures", "No time"]
    assert "skipped 1 post (media/posts_1.json, element 3" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("text", ["Café", "Ã©", "plain", "", "\u00c3", "日本", "Ã© 日本", "\ud83d"])
def test_what_meta_wrote_as_bytes_is_mended_and_all_else_stays(text: str) -> None:
    if all(char < "\ud800" or char > "\udfff" for char in text):
        assert mend(text.encode().decode("latin-1")) == text
    assert mend(text) in (text, "é")


@pytest.mark.parametrize("change", [str, str.title])
def test_discords_own_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: type[str]) -> None:
    files = {"/".join([change(name.partition("/")[0]), name.partition("/")[2]]): text for name, text in DISCORD.items()}
    posts = own_posts(tmp_path, files)
    assert [(post.id, post.text) for post in posts] == [("1011", "Hello  :wren:"), ("1013", "No, not so"), ("2021", "One, two")]
    assert {post.author for post in posts} == {"wren"}
    assert posts[0].created_at == FEBRUARY
    assert "1 of the messages are from private conversations" in " ".join(capsys.readouterr().err.split())


def test_a_message_of_discord_that_is_wrong_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        5,
        {"ID": "x", "Contents": "No id"},
        {"ID": 7, "Contents": ["x"]},
        {"ID": 8, "Contents": "Fine", "Timestamp": "never"},
    ]
    assert [post.text for post in own_posts(tmp_path, {"messages/c1/messages.json": json.dumps(rows)})] == ["Fine"]
    assert "skipped 2 posts (messages/c1/messages.json, element 1" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({"messages.html": "<html>"}, "Telegram", "JSON"),
        ({"ChatExport/messages2.html": "<html>"}, "Telegram", "JSON"),
        ({"your_instagram_activity/threads/threads_and_replies.html": "<html>"}, "Threads or Instagram", "JSON"),
        ({"your_instagram_activity/media/posts_1.html": "<html>"}, "Threads or Instagram", "JSON"),
        ({"your_facebook_activity/posts/your_posts_1.json": "[]"}, "Facebook", "column `text`"),
        ({"posts/your_posts__check_ins__photos_and_videos_1.json": "[]"}, "Facebook", "column `text`"),
        ({"Shares.csv": "Date,ShareLink,ShareCommentary\n", "Connections.csv": "x"}, "LinkedIn", "--text-column ShareCommentary"),
        ({"Basic_LinkedInDataExport/Connections.csv": "x"}, "LinkedIn", "column `text`"),
        ({"posts/html/123.html": "<p>x", "payload-0.json": "{}"}, "Tumblr", "column `text`"),
        ({"a.txt": "My dear diary", "b.txt": "x"}, "texts, one a file", "column `text`"),
        ({"notes/2023/a.md": "x"}, "texts, one a file", "column `text`"),
        ({"Takeout/YouTube/history.html": "x"}, "Google", "column `text`"),
        ({"following_accounts.csv": "x"}, "Mastodon", "Request your archive"),
    ],
)
def test_an_export_that_is_not_read_is_named_with_the_way_that_works(
    tmp_path: Path, files: dict[str, str], name: str, words: str
) -> None:
    for message in (
        refusal(tmp_path, as_zip(tmp_path / "mine.zip", files)),
        refusal(tmp_path, as_folder(tmp_path / "mine", files)),
    ):
        assert name in message and words in message and "not read" in message, message


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("your_posts_1.json", "[]", "Facebook"),
        ("notes.json", '{"a": 1}', "JSON of a form that Mynah does not read"),
        ("diary.txt", "My dear diary", "text of a form that Mynah does not read"),
        ("page.html", "<html>", "text of a form"),
        ("messages.html", "<html>", "Telegram"),
    ],
)
def test_a_file_that_is_not_read_is_named_with_the_way_that_works(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    message = refusal(tmp_path, tmp_path / name)
    assert words in message and ("column `text`" in message or "JSON" in message)
