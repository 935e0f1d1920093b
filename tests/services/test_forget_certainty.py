"""Forgetting is certain about its subject: unknown names, the question before anything is erased, and authors barred in advance."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from registry_inputs import command, make_outputs, register_all

from mynah.registry.registry import Registry
from mynah.tracking.open import open_store


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_checkpoint):
    """A work folder with two bots, which no test here erases: wren of ann, and duo, a blend of ann and bob."""
    folder = tmp_path_factory.mktemp("certain")
    make_outputs(folder / "wren", tiny_checkpoint, "ann_author")
    make_outputs(folder / "duo", tiny_checkpoint, "ann_author", ("bob_author",))
    register_all({bot: folder / bot for bot in ("wren", "duo")}, folder / "work")
    runs = folder / "work" / "runs" / "20260101-000000-lark" / "raw"
    runs.mkdir(parents=True)
    source = {"author": "dora_author"} | dict.fromkeys(("source", "kind", "display_name", "bio", "first", "last"), "")
    source |= dict.fromkeys(("sha256", "fetched_at", "basis"), "") | {"posts": 1}
    (runs / "sources.json").write_text(json.dumps([source]))
    return folder / "work"


def bots(workdir):
    return [bot.name for bot in Registry(open_store(workdir)).bots()]


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("@ann_autor", "Did you mean @ann_author"),
        ("@Ann", "Did you mean @ann_author"),
        ("@dora", "Did you mean @dora_author"),
        ("@wren", "Did you mean wren?"),
        ("@xyz", "Known authors: @ann_author, @bob_author, @dora_author."),
        ("wrenn", "Did you mean wren?"),
        ("bob_author", "can't be a bot's name"),
        ("xyz", "Known bots: duo, wren."),
    ],
)
@pytest.mark.parametrize("more", [["--yes"], ["--dry-run"], []])
def test_a_subject_that_nothing_knows_is_an_error(made, mynah, tmp_path, subject, told, more):
    receipt = [] if "--dry-run" in more else ["--receipt", tmp_path / "receipt.json"]
    done = mynah("forget", subject, *more, *receipt, "--workdir", made)
    assert (done.returncode, done.stdout, told in done.stderr, len(done.stderr.splitlines())) == (2, "", True, 2), done.stderr
    assert not (tmp_path / "receipt.json").exists()
    assert not (made / "receipts").exists()
    assert not (made / "receipt-key.pem").exists()
    assert "was not forgotten" in mynah("remember", "@xyz", "--workdir", made).stdout


def test_without_a_terminal_nothing_is_erased_unless_told_to(made, mynah):
    done = mynah("forget", "wren", "--workdir", made)
    assert (done.returncode, "nothing was erased of wren" in done.stderr, "--yes" in done.stderr) == (2, True, True), done.stderr
    assert bots(made) == ["duo", "wren"]


def test_what_would_be_erased_is_told_in_words(made, mynah):
    told = mynah("forget", "@ann_author", "--dry-run", "--workdir", made).stdout.splitlines()
    assert told[0] == "Would erase of @ann_author:"
    assert told[1:4] == [
        "  the bot duo, version 1",
        "  the bot wren, version 1",
        "  2 pipeline runs of duo, wren, with 6 records and 2 stored models",
    ]
    assert f"on this machine, in {made / 'mlartifacts'} (" in told[4]
    assert len(told) < 8
    assert str(made / "mlartifacts") in mynah("forget", "@ann_author", "--dry-run", "--json", "--workdir", made).stdout


@pytest.mark.parametrize("answer", ["n", "", "no"])
def test_a_terminal_is_asked_and_no_erases_nothing(made, answer):
    code, shown = at_a_terminal(answer, "forget", "wren", "--workdir", made)
    assert (code, "the bot wren, version 1" in shown, "Erase all of it, for good?" in shown) == (2, True, True), shown
    assert "nothing was erased of wren" in shown
    assert bots(made) == ["duo", "wren"]


def test_a_terminal_is_asked_and_yes_erases(made, mynah, tmp_path, tiny_checkpoint):
    workdir = tmp_path / "work"
    register_all({"heron": make_outputs(tmp_path / "heron", tiny_checkpoint, "cleo_author")}, workdir)
    code, shown = at_a_terminal("y", "forget", "@cleo_author", "--workdir", workdir)
    assert (code, "@cleo_author is forgotten" in shown) == (0, True), shown
    assert bots(workdir) == []
    assert (
        mynah("forget", "@cleo_author", "--yes", "--workdir", workdir).returncode == 0
    )  # known by the tombstone: nothing came back


def at_a_terminal(answer, *arguments):
    """The exit code of a command with a terminal of its own, and all that it shows there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux: the other end is closed
                break
            shown += part
    os.close(ours)
    return process.returncode, shown.decode()


def test_somebody_can_be_barred_in_advance(made, mynah, tmp_path):
    done = mynah("forget", "@Zoe_Author", "--tombstone-only", "--workdir", made, "--json")
    assert (done.returncode, json.loads(done.stdout)["receipt"]) == (0, None), done.stderr
    posts = tmp_path / "zoe_author.csv"
    posts.write_text("text\n" + "a post of several words\n" * 10)
    fetched = mynah("fetch", "--from", posts, "--basis", "permission", "--out", tmp_path / "raw", "--workdir", made)
    assert (fetched.returncode, "must not be fetched again" in fetched.stderr) == (2, True)
    again = mynah("forget", "@zoe_author", "--tombstone-only", "--workdir", made)
    assert "is barred since" in again.stdout
    assert "may be fetched again" in mynah("remember", "@zoe_author", "--workdir", made).stdout
    assert not (made / "receipts").exists()
    assert bots(made) == ["duo", "wren"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["wren", "--tombstone-only"], "wren is a bot"),
        (["@ann", "--tombstone-only", "--dry-run"], "--tombstone-only erases nothing"),
        (["@ann", "--tombstone-only", "--blends", "remove"], "--tombstone-only erases nothing"),
    ],
)
def test_what_a_tombstone_alone_cannot_do(made, mynah, arguments, told):
    done = mynah("forget", *arguments, "--workdir", made)
    assert (done.returncode, done.stdout, told in done.stderr) == (2, "", True), done.stderr


def test_a_receipt_replaces_nothing_but_a_receipt(made, mynah, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "link").symlink_to(made / "mlflow.db")
    for path in (made / "mlflow.db", made, tmp_path / "letter.txt", tmp_path / "link"):
        done = mynah("forget", "wren", "--yes", "--receipt", path, "--workdir", made)
        assert (done.returncode, "is not a receipt" in done.stderr) == (2, True), done.stderr
    items = json.loads(mynah("forget", "wren", "--dry-run", "--json", "--workdir", made).stdout)["items"]
    inside = next(Path(item["address"]) for item in items if item["kind"] == "file" and not item["digest"])
    done = mynah("forget", "wren", "--yes", "--receipt", inside / "receipt.json", "--workdir", made)
    assert (done.returncode, "would lie in what is erased" in done.stderr) == (2, True), done.stderr
    assert bots(made) == ["duo", "wren"]
    assert (tmp_path / "letter.txt").read_text() == "dear"
