"""A Bluesky repository's CAR file: what is read, and damaged files."""

import pytest
from fake_bluesky import DID, Repository, cbor, cid, record
from free_fetch import MARCH, deep, read, refused, repository
from hypothesis import given, settings
from hypothesis import strategies as st

from components.fetch.bluesky.api import open_car
from mynah.core.errors import InputError


def car_file(folder, data, name="wren.bsky.social.car"):
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_car_file_yields_the_posts_and_nothing_else(tmp_path):
    content = open_car(car_file(tmp_path, repository().car()))
    passed = []
    posts = list(content.posts(passed.append))
    assert sorted(post.text for post in posts) == sorted(f"Post {number}" for number in range(40))
    assert {(post.author, post.source, post.created_at) for post in posts} == {("wren.bsky.social", "bluesky-car", MARCH)}
    assert sorted(post.id for post in posts)[0] == "3k00000000000"
    assert (content.display_name, content.bio, content.basis) == ("Wren", "Small bird.", "own-account")
    assert 0.9 * content.size < sum(passed) <= content.size


def test_a_record_that_was_deleted_is_not_read_though_its_block_lies_there(tmp_path):
    whole = repository()
    left = Repository({"app.bsky.feed.post/3a": record("Kept")})
    left.blocks |= {link: block for link, block in whole.blocks.items() if b"Post 7" in block}
    assert [post.text for post in read(open_car(car_file(tmp_path, left.car())))] == ["Kept"]


def test_a_car_file_whose_name_is_no_handle_is_called_by_its_did(tmp_path, capsys):
    content = open_car(car_file(tmp_path, repository(1).car(), "repo.car"))
    assert content.author == DID.replace(":", "_")
    assert "HANDLE.car" in capsys.readouterr().err


def test_odd_records_in_a_car_file_are_left_out(tmp_path, capsys):
    odd = {
        "app.bsky.feed.post/3a": {"$type": "app.bsky.feed.post", "text": 7},
        "app.bsky.feed.post/3b": ["no"],
        "app.bsky.feed.post/3c": record("Good"),
    }
    assert [post.text for post in read(open_car(car_file(tmp_path, Repository(odd).car())))] == ["Good"]
    assert "skipped 2 posts" in capsys.readouterr().err


def test_a_car_file_without_any_readable_post_is_refused(tmp_path):
    odd = {f"app.bsky.feed.post/3{letter}": {"$type": "app.bsky.feed.post", "text": [letter]} for letter in "ab"}
    message = refused(InputError, lambda: read(open_car(car_file(tmp_path, Repository(odd).car()))))
    assert "none of its 2 posts can be used" in message and "it has no text" in message


class RawRepository(Repository):
    """A repository whose records may be bytes, which stay as they are."""

    def _put(self, value):
        if not isinstance(value, bytes):
            return super()._put(value)
        self.blocks[cid(value)] = value
        return cid(value)


GOOD = cbor(record("abc"))


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.replace(b"abc", b"\xed\xa0\x80"),  # half a surrogate pair
        GOOD.replace(b"abc", b"\xff\xfe\xfd"),  # not UTF-8
        b"\xa2" + cbor("$type") + cbor("app.bsky.feed.post") + cbor("text") + cbor("x"),  # keys out of order
        b"\xa1" + cbor("text") + b"\xf9\x7c\x00",  # infinity
        GOOD[:-1],  # cut
        GOOD + b"\0",
    ],
)
def test_a_record_that_no_decoder_takes_is_left_out_and_named(tmp_path, capsys, wrong):
    posts = {f"app.bsky.feed.post/3k{number:011}": record(f"Post {number}") for number in range(20)}
    whole = RawRepository(posts | {"app.bsky.feed.post/3kbad": wrong, "app.bsky.actor.profile/self": wrong + b" "})
    content = open_car(car_file(tmp_path, whole.car()))
    assert sorted(post.text for post in read(content)) == sorted(value["text"] for value in posts.values())
    assert "skipped 1 post (3kbad: it is not valid DAG-CBOR" in " ".join(capsys.readouterr().err.split())
    assert content.display_name == ""


def test_a_time_before_computers_is_that_of_the_records_key(tmp_path):
    old = record("Old") | {"createdAt": "0001-01-01T00:00:00Z"}
    [post] = read(open_car(car_file(tmp_path, Repository({"app.bsky.feed.post/3kmbwhnjtyk2b": old}).car())))
    assert post.created_at.year == 2024


def test_an_empty_repository(tmp_path):
    assert read(open_car(car_file(tmp_path, Repository({}).car()))) == []


def missing_node(car):
    """Without the one block that is the tree's root."""
    left = repository()
    del left.blocks[next(link for link, block in left.blocks.items() if block.startswith(b"\xa2ae"))]
    return left.car()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda car: b"", "no block begins"),
        (lambda car: b"PK\3\4 a zip", "no"),
        (lambda car: car[:-100], "within a block"),
        (lambda car: car[:2000] + b"\xff" + car[2001:], "damaged"),
        (lambda car: repository().car(version=2), "version 1"),
        (lambda car: b"\xff\xff\xff\xff\x7f" + car, "no block begins"),
        (lambda car: b"\x40" + b"\x81" * 64 + car, "not valid DAG-CBOR"),
        (missing_node, "missing"),
        (deep, "commit"),
    ],
)
def test_a_damaged_car_file_is_refused(tmp_path, spoil, words):
    path = car_file(tmp_path, spoil(repository().car()))
    said = refused(InputError, lambda: read(open_car(path)))
    assert words in said and "wren.bsky.social.car" in said and str(tmp_path) not in said


@settings(max_examples=60)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_a_mutated_car_file_gives_an_error_or_a_result(tmp_path_factory, place, bytes_):
    car = repository(10).car()
    path = car_file(tmp_path_factory.mktemp("car"), car[:place] + bytes_ + car[place + len(bytes_) :])
    try:
        read(open_car(path))
    except InputError as error:
        assert error.fix
