"""A Mastodon archive as .tar.gz or .tar: read without unpacking, and whatever else may lie in a tar, or call itself one."""

import gzip
import io
import random
import tarfile
import tracemalloc

import pytest
from fake_mastodon import archive, note

from components.fetch.step import fetch
from mynah.core.errors import InputError
from mynah.data.posts import read_posts

ACTOR, OUTBOX = "actor.json", "outbox.json"
MEDIA = random.Random("media").randbytes(3 << 20)


def files(*items):
    """As a server of Mastodon writes them: media first, actor.json last."""
    whole = {
        name: text.encode() if isinstance(text, str) else text for name, text in archive(*(items or [note(1, "Hello")])).items()
    }
    order = ["outbox.json", "likes.json", "bookmarks.json", "avatar.png", "actor.json"]
    return {"media_attachments/files/000/1.png": MEDIA, **{name: whole[name] for name in order}}


def tar(members, *more, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for info in more:
            made.addfile(info)
    return out.getvalue()


def member(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def texts(folder, data, name="archive-20240301.tar.gz"):
    (folder / name).write_bytes(data)
    [provenance] = fetch([f"archive:{folder / name}"], folder / "out")
    assert (provenance.source, provenance.kind, provenance.basis) == (f"archive:{name}", "mastodon-archive", "own-account")
    assert (provenance.author, provenance.display_name) == ("wren@birds.example", "Wren")
    return [post.text for post in read_posts(folder / "out")]


def refusal(folder, data):
    (folder / "archive.tar.gz").write_bytes(data)
    with pytest.raises(InputError) as caught:
        fetch([str(folder / "archive.tar.gz")], folder / "out")
    assert caught.value.fix
    assert not (folder / "out").exists()
    assert str(folder) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("folder", ["", "./", "archive/", "Mein Archiv ü/"])
def test_a_packed_archive_yields_its_posts(tmp_path, form, folder):
    members = {f"{folder}{name}": data for name, data in files(note(1, "<p>One</p>"), note(2, "<p>Two</p>")).items()}
    assert texts(tmp_path, gzip.compress(tar(members, member("a/link", tarfile.SYMTYPE, "/etc/passwd"), form=form))) == [
        "One",
        "Two",
    ]


def test_a_tar_that_a_browser_unpacked_from_its_gzip_is_read_as_well(tmp_path):
    assert texts(tmp_path, tar(files()), "archive.tar") == ["Hello"]


def test_a_large_outbox_is_streamed_and_no_file_is_made_of_it(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    noise = random.Random("noise")
    data = gzip.compress(tar(files(*(note(number, noise.randbytes(4000).hex()) for number in range(4000)))), 1)
    tracemalloc.start()
    assert len(texts(tmp_path, data)) == 4000  # 32 MB of JSON
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000
    assert not list((tmp_path / "scratch").iterdir())


def test_of_two_members_of_one_name_the_last_counts_as_when_a_tar_is_unpacked(tmp_path):
    later = tar({OUTBOX: files(note(1, "Later"))[OUTBOX]})
    first = io.BytesIO(tar(files()))
    with tarfile.open(fileobj=first, mode="a") as made, tarfile.open(fileobj=io.BytesIO(later)) as more:
        [info] = more.getmembers()
        made.addfile(info, more.extractfile(info))
    assert texts(tmp_path, gzip.compress(first.getvalue())) == ["Later"]


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE = [
    (lambda: gzip.compress(tar(files()))[:-2000], "is cut short or damaged"),
    (lambda: gzip.compress(tar(files())[:-60_000]), "cut short or damaged (it ends within"),
    (lambda: gzip.compress(tar(files()))[:-6] + b"\0" * 6, "damaged (CRC check failed"),
    (lambda: gzip.compress(b"text\nhello\n"), "does not contain a tar"),
    (lambda: gzip.compress(b""), "lacks outbox.json"),
    (lambda: b"\x1f\x8b\x08\x00 and so on", "is cut short or damaged"),
    (lambda: b"\x1f\x8b", "is cut short or damaged"),
    (lambda: gzip.compress(tar({"data/tweets.js": b"[]", "data/manifest.js": b"{}"})), "lacks outbox.json"),
    (lambda: gzip.compress(tar({"a/outbox.json": b"{}", "b/actor.json": b"{}"})), "lacks outbox.json or actor.json"),
    (lambda: gzip.compress(tar({"../outbox.json": b"{}", **files()})), "points outside the archive; nothing was read"),
    (lambda: gzip.compress(tar({"/actor.json": b"{}", **files()})), "points outside the archive; nothing was read"),
    (lambda: gzip.compress(tar({}, member(OUTBOX, tarfile.SYMTYPE, "/etc/passwd"), member(ACTOR, tarfile.LNKTYPE, "x"))), "lacks"),
    (lambda: gzip.compress(tar({}, member(OUTBOX, tarfile.FIFOTYPE), member(ACTOR, tarfile.DIRTYPE))), "lacks outbox.json"),
    (lambda: gzip.compress(tar({f"{n}/{OUTBOX}": b"{}" for n in range(200)})), "more than 100 files named"),
    (lambda: gzip.compress(header(OUTBOX, 1 << 60)), "1,152,921,504,606,846,976 bytes; the limit is 8,589,934,592"),
    (lambda: gzip.compress(header("x", -(1 << 30))), "a member of -1073741824 bytes"),
    (lambda: gzip.compress(header("x", 1 << 40) + bytes(100 << 20)), "looks like a decompression bomb"),
    (lambda: gzip.compress(header("x", 1 << 40, tarfile.XHDTYPE) + bytes(100 << 20)), "looks like a decompression bomb"),  # tarfile reads it whole
    (lambda: gzip.compress(header("x", 1 << 40, tarfile.GNUTYPE_LONGNAME) + bytes(100 << 20)), "looks like a decompression bomb"),
    (lambda: gzip.compress(tar({OUTBOX: b"{}", ACTOR: b"{}"}) + bytes(100 << 20)), "looks like a decompression bomb"),
    (lambda: gzip.compress(tar(files() | {ACTOR: b"{}"})), "does not name its account"),
    (lambda: gzip.compress(tar(files() | {OUTBOX: b'{"orderedItems": [1 2]}'})), "archive.tar.gz, outbox.json, character"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), HOSTILE)
def test_a_tar_that_is_none_or_harmful_is_refused(tmp_path, make, words):
    data = make()
    tracemalloc.start()
    assert words in refusal(tmp_path, data)
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_mutated_tars(tmp_path, pack):
    rng, path = random.Random("tar"), tmp_path / "a.tar"
    whole = pack(tar({name: data for name, data in files().items() if not name.startswith("media")}))
    refused = 0
    for number in range(150):
        changed = bytearray(whole)
        for _ in range(rng.choice((1, 2, 5))):
            place = rng.randrange(len(changed) - 40)
            changed[place : place + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(20))
        path.write_bytes(changed)
        try:
            fetch([str(path)], tmp_path / f"out-{number}")
        except InputError as error:
            assert error.fix
            assert not (tmp_path / f"out-{number}").exists()
            refused += 1
    assert refused > 100
