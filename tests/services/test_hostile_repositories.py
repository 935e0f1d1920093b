"""Repositories of Bluesky (CAR files) of a wrong shape: each is refused soon, with an error that a person can read."""

import time
import tracemalloc

import pytest
from fake_bluesky import DID, Repository, cbor, cid, record
from fake_bluesky import _varint as varint

from components.fetch.bluesky.api import open_car
from mynah.core.errors import InputError
from tests.services.source_refusals import refused


def repository():
    return Repository({f"app.bsky.feed.post/3k{number:011}": record(f"Post {number}") for number in range(3)})


def with_commit(**fields):
    made = repository()
    made.root = made._put({"did": DID, "version": 3, "data": made._put({"e": [], "l": None}), "rev": "x", "sig": b"1", **fields})
    return made.car()


def with_node(*entries, left=None):
    made = repository()
    kept = made._put(record("Kept"))
    node = {"e": [{"p": 0, "k": b"app.bsky.feed.post/3a", "v": kept, "t": None, **entry} for entry in entries], "l": left}
    made.root = made._put({"did": DID, "version": 3, "data": made._put(node), "rev": "x", "sig": b"1"})
    return made.car()


def with_header(value):
    block = cbor(value)
    return varint(len(block)) + block


def without(words):
    made = repository()
    del made.blocks[next(link for link, block in made.blocks.items() if words in block)]
    return made.car()


def with_block(block):
    made = repository()
    made.blocks[cid(block)] = block
    node = made._put({"e": [{"p": 0, "k": b"app.bsky.feed.post/3a", "v": cid(block), "t": None}], "l": None})
    made.root = made._put({"did": DID, "version": 3, "data": node, "rev": "x", "sig": b"1"})
    return made.car()


def long_paths():
    """Each key has 1,000 bytes of the one before it: a small tree unpacks to much."""
    first = {"k": b"app.bsky.feed.post/" + b"a" * 981, "p": 0}
    return with_node(first, *({"k": b"%06d" % number, "p": 1000} for number in range(30_000)))


DAMAGED = [
    (with_commit(data=10**15), "no commit"),  # bytes(10**15) would be a petabyte
    (with_commit(data=[300]), "no commit"),
    (with_commit(did=None), "no commit"),
    (with_header({"roots": [10**14], "version": 1}), "does not begin like"),
    (with_header({"roots": [[300]], "version": 1}), "does not begin like"),
    (with_header({"roots": [], "version": 1}), "does not begin like"),
    (with_node({"v": [1, 2]}), "wrong shape"),
    (with_node({"v": {"a": 1}}), "wrong shape"),
    (with_node({"v": None}), "wrong shape"),
    (with_node({"k": "text"}), "wrong shape"),
    (with_node({"p": "text"}), "wrong shape"),
    (with_node({"t": [1]}), "wrong shape"),
    (with_node(left={"a": 1}), "wrong shape"),
    (with_node({"k": b"x" * 2000}), "a path in its tree has 2,000 bytes"),
    (without(b"Post 1"), "1 of its records are missing, such as '3k00000000001'"),
]


@pytest.mark.parametrize(("car", "words"), DAMAGED)
def test_a_repository_of_a_wrong_shape_is_refused(tmp_path, car, words):
    (tmp_path / "wren.bsky.social.car").write_bytes(car)
    assert words in refused(InputError, lambda: list(open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None)))


@pytest.mark.parametrize(
    "block", [b"\x81" * 100_000 + b"\xf6", b"\x9b\x00\x00\x00\x7f\xff\xff\xff\xff", b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"]
)
def test_a_record_that_is_no_dag_cbor_is_named(tmp_path, block):
    (tmp_path / "wren.bsky.social.car").write_bytes(with_block(block))
    message = refused(InputError, lambda: list(open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None)))
    assert "its only post cannot be used (" in message
    assert "not valid DAG-CBOR" in message


def test_paths_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("components.fetch.bluesky.car_file.MAX_TREE_BYTES", 4 << 20)
    (tmp_path / "a.car").write_bytes(long_paths())
    tracemalloc.start()
    assert "the paths in its tree have more than 4,194,304 bytes" in refused(InputError, lambda: open_car(tmp_path / "a.car"))
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_a_block_that_lies_there_twice_is_one_post(tmp_path):
    made = repository()
    link, block = next((link, block) for link, block in made.blocks.items() if b"Post 1" in block)
    (tmp_path / "wren.bsky.social.car").write_bytes(made.car() + varint(len(link + block)) + link + block)
    posts = list(open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None))
    assert sorted(post.text for post in posts) == ["Post 0", "Post 1", "Post 2"]


def test_a_long_text_of_many_marks_takes_no_longer_than_it_must(tmp_path):
    text = "é" * 500_000
    marks = [
        {"index": {"byteStart": 2 * at, "byteEnd": 2 * at + 2}, "features": [{"$type": "app.bsky.richtext.facet#tag"}]}
        for at in range(480_000, 500_000)
    ]
    made = Repository({"app.bsky.feed.post/3a": record(text, facets=marks)})
    (tmp_path / "wren.bsky.social.car").write_bytes(made.car())
    began = time.monotonic()
    [post] = open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None)
    assert time.monotonic() - began < 8, "the text was decoded anew for each mark"
    assert len(post.entities) == 20_000
    assert post.entities[0].start == 480_000
