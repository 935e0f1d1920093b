"""Unsafe and damaged archives: bombs, links, pipes, members outside, and what is encrypted or cut."""

import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
from fetch_inputs import posts_of, refusal
from x_exports import as_folder, as_zip, export, part, tweet

from components.fetch.step import fetch


@pytest.mark.parametrize(
    "name", ["../evil.js", "data/../../evil.js", "/etc/passwd", "\\evil", "C:\\evil.js", "..\\evil", "data/.."]
)
def test_a_zip_with_a_member_outside_is_refused_by_name(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, as_zip(tmp_path / "a.zip", export(tweet(1, "x")) | {name: "evil"}))
    assert repr(name) in message


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a.zip", {"data/tweets.js": part([tweet(1, "x")])})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    message = refusal(tmp_path, path)
    assert "data/tweets.js: is encrypted" in message
    assert "password" in message


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    bomb = as_zip(tmp_path / "a.zip", {"data/tweets.js": b"x = [" + b" " * (17 << 20) + b"]"})
    assert "data/tweets.js: looks like a zip bomb" in refusal(tmp_path, bomb)
    small = as_zip(
        tmp_path / "b.zip", {"data/tweets.js": b"x = [" + b" " * (15 << 20) + json.dumps(tweet(1, "x")).encode() + b"]"}
    )
    assert len(posts_of(tmp_path, small)) == 1


def test_a_bomb_in_a_member_that_is_not_read_does_no_harm(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "a.zip", export(tweet(1, "x")) | {"data/direct-messages.js": b" " * (17 << 20)})
    assert len(posts_of(tmp_path, path)) == 1


def test_more_than_8_gib_in_all_is_refused(tmp_path: Path) -> None:
    """The sizes are those that the zip's directory claims; nothing so large is written."""
    names = [f"data/tweets-part{number}.js" for number in range(5)]
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, "x = []")
        for info in packed.infolist():
            info.file_size, info.compress_size = 0x7F000000, 0x7F000000  # about 2 GiB each
    assert "the limit is 8589934592" in refusal(tmp_path, path)


def test_a_list_of_members_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    """Each of a million members of no size would become an object, however small the zip is; here they are a hole in a file."""
    path, size = tmp_path / "a.zip", 65 << 20
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, size, 0, 0))
        file.seek(0)
        file.write(b"PK")
    assert "its directory has 68,157,440 bytes" in refusal(tmp_path, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as packed:
        packed.writestr("data/tweets.js", part([tweet(1, "x")]))
    assert f"data/tweets.js: is compressed by method {method}" in refusal(tmp_path, tmp_path / "a.zip")


def test_a_bad_checksum_a_cut_and_foreign_bytes_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as packed:
        packed.writestr("data/tweets.js", part([tweet(1, "Fine words")]))
    data = whole.read_bytes()
    for name, content, words in (
        ("crc.zip", data.replace(b"Fine words", b"Fine wards"), ["crc.zip, data/tweets.js", "CRC"]),
        ("cut.zip", data[:-30], ["cut.zip", "cut short or damaged"]),
        ("half.zip", data[: len(data) // 2], ["half.zip", "cut short or damaged"]),
        ("empty.zip", b"", ["empty.zip", "empty"]),
        ("text.zip", b"Hello, I am a text", ["text.zip", "not a zip"]),
        ("pdf.pdf", b"%PDF-1.4", ["pdf.pdf", "not a zip", ".csv"]),
    ):
        (tmp_path / name).write_bytes(content)
        message = refusal(tmp_path, tmp_path / name)
        assert all(word in message for word in words), message
        assert len(message.splitlines()) == 2


@pytest.mark.parametrize("linked", ["data/tweets.js", "data"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, linked: str) -> None:
    as_folder(tmp_path / "outside", {"data/tweets.js": part([tweet(1, "secret")])})
    inside = tmp_path / "inside" / linked
    inside.parent.mkdir(parents=True)
    inside.symlink_to(tmp_path / "outside" / linked)
    message = refusal(tmp_path, tmp_path / "inside")
    assert "data/tweets.js: is a link that leaves the folder" in message


def test_a_link_to_itself_is_refused_without_the_machines_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    (tmp_path / "a" / "data" / "tweets.js").symlink_to("tweets.js")
    assert "a, data/tweets.js: is a link to itself" in refusal(tmp_path, tmp_path / "a")


def test_a_link_within_the_folder_and_a_link_to_the_source_are_followed(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "real", {"store/t.js": part([tweet(1, "x")])})
    (folder / "data").mkdir()
    (folder / "data" / "tweets.js").symlink_to("../store/t.js")
    (tmp_path / "link").symlink_to(folder)
    [provenance] = fetch([str(tmp_path / "link")], tmp_path / "out")
    assert (provenance.source, provenance.author, provenance.posts) == ("archive:link", "link", 1)


def test_the_folder_that_one_stands_in_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(as_folder(tmp_path / "mine", export(tweet(1, "x"))))
    assert [item.source for item in fetch(["."], tmp_path / "out")] == ["archive:mine"]


def test_a_pipe_in_place_of_a_part_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "data" / "tweets.js")
    assert "data/tweets.js: is not a plain file" in refusal(tmp_path, tmp_path / "a")
