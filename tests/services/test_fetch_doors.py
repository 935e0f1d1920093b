"""Every door through `mynah fetch`: the networks and the archives of accounts, with provenance, limits, basis and cost."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from fake_bluesky import FakeBluesky, Repository, record, tid, view
from fake_mastodon import FakeMastodon, archive, note, status
from fake_x import TOKEN, FakeX, tweet

from mynah.core.files import digest
from mynah.data.posts import read_posts
from mynah.registry.forgotten_authors import mark_forgotten
from mynah.tracking.open import open_store
from tests.code.x_exports import as_folder, as_zip
from tests.http_fake import Answer

MARCH = datetime(2024, 3, 1, 12, tzinfo=UTC)
DOORS = {
    "x://wren": ("x-api", "Wren"),
    "bsky://wren.bsky.social": ("bluesky", "wren.bsky.social"),
    "mastodon://wren@birds.example": ("mastodon", "wren@birds.example"),
}


@pytest.fixture
def networks(monkeypatch, tmp_path):
    """All three, each with an account of 250 posts."""
    monkeypatch.setenv("X_BEARER_TOKEN", TOKEN)
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MYNAH_X_PRICE_PER_POST", raising=False)
    numbers = range(250, 0, -1)
    x = FakeX([tweet(10_000 + number, f"Post {number}") for number in numbers])
    feed = [view(tid(MARCH + timedelta(seconds=n)), record(f"Post {n}")) for n in numbers]
    with (
        x,
        FakeBluesky(feed) as bluesky,
        FakeMastodon([status(1000 + number, f"<p>Post {number}</p>") for number in numbers]) as mastodon,
    ):
        for name, fake in {"X": x, "BLUESKY": bluesky, "MASTODON": mastodon}.items():
            monkeypatch.setenv(f"MYNAH_{name}_API", fake.url)
        yield {"x": x, "bsky": bluesky, "mastodon": mastodon}


@pytest.fixture
def fetched(mynah, tmp_path):
    """Run `mynah fetch` into the same folder."""
    return lambda *arguments: mynah("fetch", *arguments, "--out", tmp_path / "raw", "--workdir", tmp_path / "work", "--json")


@pytest.mark.parametrize("name", DOORS)
def test_an_account_is_fetched_with_its_provenance(networks, fetched, tmp_path, name):
    (kind, author), digests = DOORS[name], set()
    for _ in range(2):
        done = fetched("--from", name, "--basis", "permission", "--max-cost", "5")
        assert done.returncode == 0, done.stderr
        [found] = json.loads(done.stdout)
        assert (found["source"], found["kind"], found["author"], found["posts"]) == (name, kind, author, 250)
        assert (found["basis"], found["counts"]) == ("permission", {"original": 250})
        assert found["fetched_at"] and found["first"] and len(found["sha256"]) == 64
        digests.add(found["sha256"])
        posts = list(read_posts(tmp_path / "raw"))
        assert [post.text for post in posts] == [f"Post {number}" for number in range(250, 0, -1)]
        assert {post.source for post in posts} == {kind}
    assert len(digests) == 1, "the same posts have the same digest"
    written = b"".join(path.read_bytes() for path in (tmp_path / "raw").iterdir())
    assert TOKEN.encode() not in written + done.stdout.encode() + done.stderr.encode()


@pytest.mark.parametrize("name", DOORS)
def test_the_limit_ends_the_asking(networks, fetched, tmp_path, name):
    done = fetched("--from", name, "--basis", "permission", "--yes", "--limit", "7")
    assert [each["posts"] for each in json.loads(done.stdout)] == [7]
    assert [post.text for post in read_posts(tmp_path / "raw")] == [f"Post {number}" for number in range(250, 243, -1)]
    asked = networks[name.partition(":")[0]].requests
    assert len(asked) <= 3, [each.path for each in asked]
    assert not list((tmp_path / "cache").rglob("*.jsonl")), "what is complete is not kept"


def test_without_consent_to_the_price_nothing_at_all_is_asked(networks, fetched, tmp_path):
    sources = [argument for name in DOORS for argument in ("--from", name)]
    done = fetched(*sources, "--basis", "permission")
    assert (done.returncode, "$16.01" in done.stderr) == (2, True), done.stderr
    done = fetched(*sources, "--max-cost", "5")
    assert (done.returncode, "basis on which the posts may be used" in done.stderr) == (2, True), done.stderr
    assert [fake.requests for fake in networks.values()] == [[], [], []]
    assert not (tmp_path / "raw").exists()


def test_the_cap_is_for_all_accounts_together(networks, fetched):
    networks["x"]._user = lambda name, _: Answer(
        200, {"data": {"id": {"wren": "1", "lark": "2"}[name.lower()], "username": name, "name": name, "protected": False}}
    )
    done = fetched("--from", "x://wren", "--from", "x://lark", "--basis", "permission", "--max-cost", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["author"] for each in found] == ["wren", "lark"]
    assert sum(each["posts"] for each in found) * 0.005 + 2 * 0.01 <= 1
    assert min(each["posts"] for each in found) > 80


def test_what_was_paid_for_is_kept_until_it_is_written(networks, fetched, tmp_path):
    done = fetched("--from", "x://wren", "--from", "x://lark", "--basis", "permission", "--yes")
    assert (done.returncode, "no account @lark" in done.stderr) == (2, True), done.stderr
    for _ in range(2):
        assert fetched("--from", "x://wren", "--basis", "permission", "--yes").returncode == 0
        assert [post.text for post in read_posts(tmp_path / "raw")] == [f"Post {number}" for number in range(250, 0, -1)]
        assert list((tmp_path / "cache" / "x-pages").iterdir()) == []
    assert networks["x"].given_out == {"posts": 500, "accounts": 2}, "once, and once more for the second fetch that came through"


def test_who_was_forgotten_is_not_even_asked_for(networks, fetched, tmp_path):
    store = open_store(tmp_path / "work")
    for name, (_, author) in DOORS.items():
        mark_forgotten(store, author)
        done = fetched("--from", name, "--basis", "permission", "--yes")
        assert (done.returncode, "to be forgotten" in done.stderr) == (2, True), done.stderr
    assert [fake.requests for fake in networks.values()] == [[], [], []]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x://lark", "X has no account @lark"),
        ("bsky://lark.example", "no account lark.example"),
        ("mastodon://lark@b.example", "no account"),
    ],
)
def test_an_account_that_is_not_there_leaves_nothing(networks, fetched, tmp_path, name, said):
    done = fetched("--from", "sample", "--from", name, "--basis", "permission", "--yes")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "raw").exists()


def test_the_archives_of_accounts_are_their_owners(fetched, tmp_path):
    records = {f"app.bsky.feed.post/3k{number:011}": record(f"Post {number}") for number in range(9)}
    car = tmp_path / "wren.bsky.social.car"
    car.write_bytes(Repository(records).car())
    files = archive(note(1, "<p>Hello &amp; all</p>"), note(2, "<p>For friends</p>", to=["x/followers"], cc=[]))
    packed, folder = as_zip(tmp_path / "archive-1.zip", files), as_folder(tmp_path / "archive-2", files)
    for path, kind, author, count in (
        (car, "bluesky-car", "wren.bsky.social", 9),
        (packed, "mastodon-archive", "wren@birds.example", 1),
        (folder, "mastodon-archive", "wren@birds.example", 1),
    ):
        for name in (path, f"archive:{path}"):
            done = fetched("--from", name)
            assert done.returncode == 0, done.stderr
            [found] = json.loads(done.stdout)
            form = "car" if path == car else "archive"
            assert (found["source"], found["kind"], found["author"]) == (f"{form}:{path.name}", kind, author)
            assert (found["posts"], found["basis"], found["sha256"]) == (count, "own-account", digest(path))


@pytest.mark.parametrize(("name", "said"), [("a.car", "a.car"), ("a.zip", "is not a zip")])
def test_a_damaged_archive_is_refused(fetched, tmp_path, name, said):
    (tmp_path / name).write_bytes(b"\x3a\xa2 no archive at all")
    done = fetched("--from", tmp_path / name)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_run_is_refused_before_anything_is_made(networks, mynah, tmp_path, command):
    (tmp_path / "a.csv").write_text("text\nhello\n")
    for arguments, said in [
        (("--from", tmp_path / "a.csv"), "basis on which the posts may be used"),
        (("--from", "bsky://wren.bsky.social"), "basis on which the posts may be used"),
        (("--from", "x://wren", "--basis", "permission"), "$16.01"),
        (("--from", "sample", "--basis", "mine"), "unknown basis 'mine'"),
        (("--from", "x://wren", "--basis", "permission", "--max-cost", "nan"), "--max-cost is nan"),
    ]:
        done = mynah(command, "--name", "wren", *arguments, "--workdir", tmp_path / "work")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "work").exists()
    assert [fake.requests for fake in networks.values()] == [[], [], []]


def test_a_run_hands_basis_and_cost_to_its_step(networks, mynah, tmp_path):
    """The step itself reads the account; 250 posts are too few to train on, and the run ends there."""
    call = (
        "run",
        "--name",
        "wren",
        "--from",
        "x://wren",
        "--max-cost",
        "5",
        "--basis",
        "permission",
        "--workdir",
        tmp_path / "work",
    )
    done = mynah(*call, OMP_NUM_THREADS="1")
    assert (done.returncode, "needs 6,000 at the least" in done.stderr) == (2, True), done.stderr
    assert "3,200 posts of @wren" in done.stderr, "the price is shown"
    assert networks["x"].given_out == {"posts": 250, "accounts": 1}
    store = open_store(tmp_path / "work")
    from mlflow import MlflowClient

    runs = MlflowClient(store.tracking_uri).search_runs(
        [each.experiment_id for each in MlflowClient(store.tracking_uri).search_experiments()]
    )
    assert {run.data.tags["mynah.consent"] for run in runs if "mynah.consent" in run.data.tags} == {"permission"}
    named = [path for path in (tmp_path / "work").rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert named == []
