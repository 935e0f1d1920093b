"""The addresses in the database of a work folder that moved."""

import json
import sqlite3
from contextlib import closing

import pytest

from mynah.core.errors import PlatformError
from mynah.mlflow_client.store import Store
from mynah.tracking.moved_folder import MOVED_TAG, adopt


@pytest.fixture
def database(home):
    """The tables with addresses, as MLflow has them, of a work folder that was in /w_rk%."""
    addresses = {
        "experiments": "experiment_id INTEGER, name TEXT, artifact_location TEXT", "runs": "run_uuid TEXT, artifact_uri TEXT",
        "logged_models": "model_id TEXT, artifact_location TEXT", "experiment_tags": "key TEXT, value TEXT, experiment_id INTEGER",
        "model_versions": "name TEXT, source TEXT, storage_location TEXT",
    }  # fmt: skip
    was = "file:///w_rk%25/mlartifacts"
    with closing(sqlite3.connect(home / "mlflow.db")) as made, made:
        for table, columns in addresses.items():
            made.execute(f"CREATE TABLE {table} ({columns})")
        made.execute("INSERT INTO experiments VALUES (0, 'Default', '/cwd/mlruns/0'), (1, 'mynah', ?)", [was])
        made.executemany("INSERT INTO runs VALUES (?, ?)", [(name, uri.format(was)) for name, uri in RUNS.items()])
        made.execute("INSERT INTO logged_models VALUES ('m-1', ?)", [f"{was}/models/m-1/artifacts"])
        made.execute("INSERT INTO model_versions VALUES ('wren', 'models:/m-1', ?)", [f"{was}/models/m-1/artifacts"])
        made.execute("INSERT INTO model_versions VALUES ('wren', ?, NULL)", [f"{was}/models/m-1/artifacts"])
    return home / "mlflow.db"


RUNS = {
    "ours": "{}/1/artifacts", "bucket": "s3://b/{}/1", "another": "file:///w_rk%252/mlartifacts/1", "a beginning": "{}2/1",
    "other letters": "file:///work%25/mlartifacts/1", "upper": "FILE:///w_rk%25/mlartifacts/1",
}  # fmt: skip


def rows(path, table):
    with closing(sqlite3.connect(path)) as opened:
        return opened.execute(f"SELECT * FROM {table}").fetchall()


def test_the_database_names_where_the_folder_lies(home, database):
    before, root = dict(rows(database, "runs")), (home / "mlartifacts").as_uri()
    adopt(Store.in_folder(home))
    assert dict(rows(database, "runs")) == before | {"ours": f"{root}/1/artifacts"}
    assert rows(database, "experiments") == [(0, "Default", "/cwd/mlruns/0"), (1, "mynah", root)]
    files = f"{root}/models/m-1/artifacts"
    assert rows(database, "logged_models") == [("m-1", files)]
    assert rows(database, "model_versions") == [("wren", "models:/m-1", files), ("wren", files, None)]
    noted = [(MOVED_TAG, json.dumps(["file:///w_rk%25/mlartifacts"]), 1)]
    assert rows(database, "experiment_tags") == noted
    adopted = database.read_bytes()
    adopt(Store.in_folder(home))
    assert database.read_bytes() == adopted
    home.rename(home.with_name("again"))
    adopt(Store.in_folder(home.with_name("again")))
    [[_, roots, _]] = rows(home.with_name("again") / "mlflow.db", "experiment_tags")
    assert json.loads(roots) == [root, "file:///w_rk%25/mlartifacts"]
    home.with_name("again").rename(home)


def test_all_addresses_change_or_none(home, database):
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TRIGGER full BEFORE UPDATE ON model_versions BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    before = database.read_bytes()
    with pytest.raises(PlatformError, match="cannot be changed to where it lies now: disk is full"):
        adopt(Store.in_folder(home))
    assert database.read_bytes() == before


@pytest.mark.parametrize("location", ["s3://b/mlartifacts", "mlflow-artifacts:/1", "file:///srv/files", "", None])
def test_what_did_not_move_with_the_folder_is_left_alone(home, database, location):
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE experiments SET artifact_location = ?", [location])
    before = database.read_bytes()
    adopt(Store.in_folder(home))
    assert database.read_bytes() == before


def test_a_hard_linked_copy_does_not_change_the_original(home, database, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "mlflow.db").hardlink_to(database)
    before = database.read_bytes()
    adopt(Store.in_folder(copy))
    assert (database.read_bytes(), database.stat().st_nlink) == (before, 1)
    assert rows(copy / "mlflow.db", "experiments")[1][2] == (copy / "mlartifacts").as_uri()
    assert [path.name for path in copy.iterdir()] == ["mlflow.db"]


def test_a_database_behind_a_link_is_left_alone(database, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mlflow.db").symlink_to(database)
    before = database.read_bytes()
    adopt(Store.in_folder(tmp_path / "copy"))
    assert database.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 200])
def test_a_database_that_is_none_is_left_to_mlflow(home, content):
    (home / "mlflow.db").write_bytes(content)
    adopt(Store.in_folder(home))
    assert (home / "mlflow.db").read_bytes() == content
