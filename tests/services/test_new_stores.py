"""A new store that tests copy (tests/new_stores.py) is the one that MLflow's migrations make."""

import sqlite3
from contextlib import closing

import pytest
from mlflow.store.db import utils

from tests import new_stores


@pytest.fixture
def migrated(monkeypatch):
    """How often MLflow migrated a database, once `install` was called anew."""
    calls, original = [], utils._upgrade_db
    monkeypatch.setattr(utils, "_upgrade_db", lambda engine: calls.append(engine) or original(engine))
    monkeypatch.setattr(utils, "_initialize_tables", _initialize)
    new_stores.install()
    return calls


def _initialize(engine):
    """MLflow's own, which a worker may have replaced already."""
    utils.InitialBase.metadata.create_all(engine)
    utils._upgrade_db(engine)


def make(path):
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    utils._initialize_tables(engine)
    utils._verify_schema(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as store:
        return sorted(store.iterdump()), store.execute("PRAGMA integrity_check").fetchall()


def test_a_copy_is_what_mlflow_makes(migrated, tmp_path):
    first = make(tmp_path / "first.db")
    assert make(tmp_path / "second.db") == make(tmp_path / "third.db") == first
    assert any("alembic_version" in line for line in first[0])
    assert len(migrated) == 1


def test_a_store_that_is_half_made_is_left_to_mlflow(migrated, tmp_path):
    make(tmp_path / "first.db")
    with closing(sqlite3.connect(tmp_path / "half.db")) as store:
        store.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        store.commit()
    make(tmp_path / "half.db")
    assert len(migrated) == 2
