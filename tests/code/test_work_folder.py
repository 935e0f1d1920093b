"""Where a work folder's files lie after it moved, and that nothing outside it is erased."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.forget.local_files import kfp_caches
from components.forget.places import in_folder, recorded_folder
from mynah.core.erasing import erase
from mynah.core.errors import InputError
from mynah.maintenance.erasers import ErasableItem, file_items, require_erasable, stored_items
from mynah.mlflow_client.store import Store
from mynah.storage.open import open_artifact_store
from mynah.storage.work_folder import current_uri, path_in, require_own_parts
from tests.code.conftest import RUN

HERE = Path("/srv/bots")
ODD = ["work", "w \u00f6 rk", "100%", "%2e%2e", "#1", "x?y=1", "a;b", "mlartifacts2", "~", "c:", "\n", "*", "-", " "]
NAMES = st.sampled_from(ODD) | st.text(
    st.characters(codec="utf-8", categories=["L", "P", "Z"], exclude_characters="/."), min_size=1
)
FOLDERS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: Path("/", *names))


@pytest.mark.parametrize(
    ("recorded", "below"),
    [
        (f"file:///mnt/bots/mlartifacts/{RUN}/artifacts", f"mlartifacts/{RUN}/artifacts"),
        (f"/mnt/bots/mlartifacts/{RUN}/artifacts", f"mlartifacts/{RUN}/artifacts"),
        (f"file:///srv/bots/mlartifacts/{RUN}", f"mlartifacts/{RUN}"),
        (f"file:///srv/bots/original/mlartifacts/{RUN}", f"mlartifacts/{RUN}"),  # a copy that holds the original
        (f"file:///here/mlartifacts/{RUN}", f"mlartifacts/{RUN}"),  # a copy within the original
        (f"file:///a/mlartifacts/w/mlartifacts/{RUN}", f"mlartifacts/{RUN}"),
        ("file:///there/w%C3%B6rk%20%231/mlartifacts/models/m-1/artifacts", "mlartifacts/models/m-1/artifacts"),
        ("file:///there/mlartifacts", "mlartifacts"),
        ("/srv/bots/made/by/hand", "made/by/hand"),
    ],
)
def test_recorded_files_lie_in_the_folder_where_it_is_now(recorded, below):
    assert path_in(HERE, recorded) == HERE / below
    assert open_artifact_store(recorded, f"sqlite:///{HERE}/mlflow.db").uri == str(HERE / below)


@pytest.mark.parametrize(
    "recorded",
    [
        "mlruns/0", "", ".", "./mlartifacts/../../x", "mlartifacts/1", "file:///srv/bots/..", "/srv/bots/x/../../y",
        "file:///there/mlartifacts/../../here/x", "file:///there/mlartifacts/%2e%2e/%2e%2e/x", "file:///there/mlartifacts/%2e%2e",
        f"file:///there/mlartifacts/{RUN}%00", "file:mlruns",
    ],
)  # fmt: skip
def test_what_is_no_absolute_path_is_refused(recorded):
    with pytest.raises(InputError, match="which is no absolute path"):
        open_artifact_store(recorded, f"sqlite:///{HERE}/mlflow.db")


@pytest.mark.parametrize("recorded", ["{}/other", "file://{}/other", "file://{}/work", "file://{}"])
def test_what_was_registered_by_hand_is_read_where_it_is_and_nothing_else(home, recorded):
    place = open_artifact_store(recorded.format(home.parent), f"sqlite:///{home}/mlflow.db")
    if "other" in recorded:
        assert list(place.files()) == ["dear"]
    for act in (place.remove, lambda: place.put("dear", home / "mlartifacts" / RUN / "artifacts" / "posts")):
        with pytest.raises(InputError, match="lies outside"):
            act()
    assert (home / "mlartifacts" / RUN / "artifacts" / "posts").exists()


@given(FOLDERS, FOLDERS, st.lists(NAMES, max_size=3))
def test_whatever_the_two_folders_are_called(was, now, below):
    recorded = was.joinpath("mlartifacts", *below)
    assert path_in(now, recorded.as_uri()) == now.joinpath("mlartifacts", *below)


@given(FOLDERS, st.text("/.m%2ea", max_size=30))
def test_no_address_of_artifacts_leads_out(folder, below):
    try:
        path = path_in(folder, f"file:///x/mlartifacts/{below}")
    except InputError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(folder / "mlartifacts")


@pytest.mark.parametrize(
    "uri", ["s3://b/mlartifacts/1", "mlflow-artifacts:/1/x", "file:///srv/mlartifacts/1", "/srv/mlartifacts"]
)
def test_a_servers_addresses_stay(uri):
    assert current_uri(uri, "http://mlflow:5000") == uri
    if "://b" in uri:
        assert current_uri(uri, f"sqlite:///{HERE}/mlflow.db") == uri


@pytest.mark.parametrize("path", ["../other/dear", "../other", ".", "..", "mlartifacts/../../other/dear", "/nowhere"])
def test_nothing_outside_is_erased(home, path):
    with pytest.raises(InputError, match="lies outside"):
        erase(home / path, [home])
    with pytest.raises(InputError, match="lies outside"):
        erase(home / path, [])


def test_links_that_lead_out_are_not_followed(home):
    (home / "linked").symlink_to("../other")
    (home / "dear").symlink_to("../other/dear")
    with pytest.raises(InputError, match="a link leads out of"):
        erase(home / "linked" / "dear", [home])
    erase(home / "dear", [home])
    erase(home / "linked", [home])
    assert not os.path.lexists(home / "linked")
    assert not os.path.lexists(home / "dear")


def test_links_that_stay_inside_are_good(home):
    (home / "runs").symlink_to("mlartifacts")
    require_own_parts(Store.in_folder(home))
    erase(home / "runs" / RUN, [home])
    assert list((home / "mlartifacts").iterdir()) == []


@pytest.mark.parametrize("part", ["mlflow.db", "mlartifacts", "runs", "cards", "checkpoints", ".unsent", ".forgetting"])
def test_a_part_of_the_folder_that_is_elsewhere(home, part):
    (home / "mlartifacts").rename(home / "moved")
    (home / part).symlink_to("../other" if part != "runs" else "../nothing")  # also a disk that is not mounted
    with pytest.raises(InputError, match="is a link that leads out of the work folder"):
        require_own_parts(Store.in_folder(home))


def test_the_files_of_a_run_that_are_elsewhere(home):
    uri = f"sqlite:///{home}/mlflow.db"
    [*found] = stored_items(f"file:///there/mlartifacts/{RUN}/artifacts", uri)
    assert [Path(item.address).name for item in found] == ["posts", RUN]
    (home / "mlartifacts" / RUN).rename(home.parent / "other" / RUN)
    (home / "mlartifacts" / RUN).symlink_to(f"../../other/{RUN}")
    with pytest.raises(InputError, match="is not erased"):
        list(stored_items(f"file:///there/mlartifacts/{RUN}/artifacts", uri))
    with pytest.raises(InputError, match="is not erased"):
        open_artifact_store(f"file:///there/mlartifacts/{RUN}/artifacts", uri).remove()
    assert (home.parent / "other" / RUN / "artifacts" / "posts").exists()


@pytest.mark.parametrize("address", ["mlartifacts", "artifacts", "mlartifacts/artifacts", "made/by/hand"])
def test_an_address_of_the_whole_folder_is_not_erased(home, address):
    for act in (lambda uri, store: list(stored_items(uri, store)), lambda uri, store: open_artifact_store(uri, store).remove()):
        with pytest.raises(InputError, match="lies outside"):
            act(
                f"file://{home}/{address}" if address != "mlartifacts/artifacts" else f"file://{home}/artifacts",
                f"sqlite:///{home}/mlflow.db",
            )
    assert (home / "mlartifacts" / RUN).exists()


def test_a_link_among_the_files_is_erased_without_what_it_leads_to(home, capsys):
    (home / "mlartifacts" / RUN / "link").symlink_to(home.parent / "other" / "dear")
    items = list(file_items(home / "mlartifacts" / RUN))
    require_erasable(items, [home])
    assert "not what it leads to" in capsys.readouterr().err
    for item in items:
        erase(Path(item.address), [home])
    assert not (home / "mlartifacts" / RUN).exists()


def test_caches_of_another_work_folder_within_stay(home):
    for folder in (home, home / "runs" / "1", home / "backup" / "runs"):
        (folder / ".kfp_cache").mkdir(parents=True)
    (home / "backup" / "mlflow.db").touch()
    (home / "linked").symlink_to("backup/runs")
    assert sorted(kfp_caches(home)) == [home / ".kfp_cache", home / "runs" / "1" / ".kfp_cache"]


def item(address):
    return ErasableItem("file", str(address), "sha256:0")


@pytest.mark.parametrize(
    "record",
    [
        {"folder": "/mnt/bots"}, {"store": "sqlite:////mnt/bots/mlflow.db"}, {"searched": ["x", "the work folder /mnt/bots"]}, {},
    ],
)  # fmt: skip
def test_a_journal_and_a_receipt_name_the_folder_as_it_lies_now(tmp_path, record):
    store = Store.in_folder(tmp_path)
    named = [item(f"/mnt/bots/{name}") for name in (f"mlartifacts/{RUN}", "runs/1/posts.jsonl")] + [
        item("/cache/x-pages/1.jsonl")
    ]
    row = ErasableItem("run", RUN, "")
    assert in_folder([*named, row], recorded_folder(record), store) == [
        item(tmp_path / "mlartifacts" / RUN), item(tmp_path / "runs/1/posts.jsonl"), item("/cache/x-pages/1.jsonl"), row,
    ]  # fmt: skip


def test_a_receipt_of_a_copy_that_named_the_original(tmp_path):
    """As earlier versions signed it: the store is the copy's, and the files are the original's."""
    was = recorded_folder({"store": "sqlite:////copy/mlflow.db"})
    assert in_folder([item(f"/original/mlartifacts/{RUN}")], was, Store.in_folder(tmp_path)) == [
        item(tmp_path / "mlartifacts" / RUN)
    ]
