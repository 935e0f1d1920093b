"""Whatever bytes come in exports of other networks and in chats, fetch gives posts or a MynahError."""

import json
import random
from pathlib import Path

import pytest
from foreign_exports import DISCORD, INSTAGRAM, REDDIT, TELEGRAM, THREADS, WHATSAPP
from x_exports import as_folder

from components.fetch.step import fetch
from mynah.core.errors import MynahError
from mynah.data.posts import read_posts
from tests.code.fetch_mutations import mutated

EXPORTS = [
    (REDDIT, "comments.csv"),
    (REDDIT, "posts.csv"),
    (REDDIT, "statistics.csv"),
    (THREADS, "your_instagram_activity/threads/threads_and_replies.json"),
    (THREADS, "personal_information/personal_information/personal_information.json"),
    (INSTAGRAM, "your_instagram_activity/media/posts_1.json"),
    (INSTAGRAM, "your_instagram_activity/comments/post_comments_1.json"),
    (DISCORD, "messages/c111/messages.json"),
    (DISCORD, "messages/c222/messages.csv"),
    (DISCORD, "messages/c222/channel.json"),
    (DISCORD, "account/user.json"),
    ({"result.json": json.dumps(TELEGRAM)}, "result.json"),
    ({"_chat.txt": WHATSAPP["ios"]}, "_chat.txt"),
    ({"_chat.txt": WHATSAPP["android"]}, "_chat.txt"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("files", "member"), EXPORTS)
def test_mutated_members_of_an_export(tmp_path: Path, files: dict[str, str], member: str) -> None:
    rng = random.Random(member)
    read = 0
    for _ in range(60):
        folder = as_folder(tmp_path / "a", {**files, member: mutated(files[member].encode(), rng)})
        try:
            [provenance] = fetch([str(folder)], tmp_path / "out", basis="permission", author="Ann B")
        except MynahError as error:
            assert error.fix
            assert "secret" not in str(error) or "messages" not in member
        else:
            posts = list(read_posts(tmp_path / "out"))
            assert len(posts) == provenance.posts > 0
            assert len({post.author for post in posts}) == 1
            read += 1
    assert read > 2, "some mutations are harmless"


@pytest.mark.parametrize(("files", "member"), [EXPORTS[3], EXPORTS[7], EXPORTS[11]])
def test_hostile_json_is_refused(tmp_path: Path, files: dict[str, str], member: str) -> None:
    """Deep, endless, cut, and of other shapes."""
    for text in (
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"messages": [' + "[" * 100_000,
        '["' + "y" * 5_000_000,
        files[member][:-40],
        '{"messages": 5}',
        "[1]",
    ):
        folder = as_folder(tmp_path / "a", {member: text})
        with pytest.raises(MynahError):
            fetch([str(folder)], tmp_path / "out", basis="permission", author="Ann B")
        assert not (tmp_path / "out").exists()
