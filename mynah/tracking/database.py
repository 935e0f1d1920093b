"""MLflow's own database, for what its API cannot do: erase rows for good, and find those that are only marked as deleted.

Read from the schema as it is: every table that names a run or a model is found by its columns, so that a later version of MLflow
with more tables loses nothing. Works on sqlite and PostgreSQL.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from components.errors import InputError, PlatformError
from components.store import Store, public, scrub

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData, Table
    from sqlalchemy.sql.elements import ColumnElement

AT_ONCE = 400  # values in one IN (…); sqlite takes 999
RUN_COLUMNS, MODEL_COLUMNS = ("run_uuid", "run_id"), ("model_id",)
Rows = list[dict[str, Any]]


class Database:
    """The database behind a store. Raises InputError where nobody told its address."""

    def __init__(self, store: Store) -> None:
        if not store.database:
            raise InputError(
                f"{store.shown} is a server, and only its database can find and erase all of it",
                "Set MLFLOW_BACKEND_STORE_URI as the server has it (postgresql+psycopg2://…).",
            )
        self.url = store.database

    @functools.cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        # Ten seconds to the first error, for both kinds: sqlite's wait for a lock, PostgreSQL's for a connection.
        seconds = {"timeout": 10} if self.url.startswith("sqlite") else {"connect_timeout": 8}
        try:
            return create_engine(self.url, connect_args=seconds, pool_pre_ping=True)
        except SQLAlchemyError as error:
            raise InputError(
                f"MLFLOW_BACKEND_STORE_URI is no address of a database ({type(error).__name__})",
                "Set it as the server has it: postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE",
            ) from error

    @functools.cached_property
    def _schema(self) -> "MetaData":
        from sqlalchemy import MetaData

        schema = MetaData()
        with self._errors():
            schema.reflect(self._engine)
        return schema

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            cause = scrub(str(error).strip().split("\n")[0])[:200]
            raise PlatformError(
                f"the database {public(self.url)} failed: {cause}", "Is it running, and may this user read and delete there?"
            ) from error

    def close(self) -> None:
        """Let the connections go."""
        if "_engine" in self.__dict__:  # else it was never made, or could not be
            self._engine.dispose()

    def rows(self, table: str, column: str, values: Sequence[str]) -> Rows:
        """The rows of `table` whose `column` is one of `values`."""
        from sqlalchemy import select

        found: Rows = []
        with self._errors(), self._engine.connect() as connection:
            for start in range(0, len(values), AT_ONCE):
                chosen = self._table(table).c[column].in_(values[start : start + AT_ONCE])
                found += [dict(row._mapping) for row in connection.execute(select(self._table(table)).where(chosen))]
        return found

    def rows_from(self, table: str, column: str, prefix: str) -> Rows:
        """The rows of `table` whose `column` begins with `prefix`."""
        from sqlalchemy import select

        chosen = self._table(table).c[column].startswith(prefix, autoescape=True)
        with self._errors(), self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(self._table(table)).where(chosen))]

    def run_rows(self, run_id: str) -> Rows:
        """Every row that belongs to a run, with the datasets that no other run uses."""
        return self._collect(self._of_run(run_id))

    def model_rows(self, model_id: str) -> Rows:
        """Every row that belongs to a logged model."""
        return self._collect(self._of(MODEL_COLUMNS, model_id))

    def version_rows(self, name: str, version: str) -> Rows:
        """Every row of a model version, and the aliases that point to it."""
        return self._collect(self._of_version(name, version))

    def bot_rows(self, name: str) -> Rows:
        """Every row of a registered model, and those of its versions."""
        return self._collect(self._of_bot(name))

    def erase_run(self, run_id: str) -> None:
        """Erase a run for good, in one transaction."""
        self._erase(self._of_run(run_id))

    def erase_model(self, model_id: str) -> None:
        """Erase a logged model's rows for good."""
        self._erase(self._of(MODEL_COLUMNS, model_id))

    def erase_version(self, name: str, version: str) -> None:
        """Erase a model version for good; MLflow's own deletion keeps its tags."""
        self._erase(self._of_version(name, version))

    def erase_bot(self, name: str) -> None:
        """Erase a registered model for good."""
        self._erase(self._of_bot(name))

    def vacuum(self) -> None:
        """Take the erased rows out of the database's files too, where they would stay readable until something overwrites them."""
        from sqlalchemy import text

        with self._errors(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM"))

    def _table(self, name: str) -> "Table":
        if name not in self._schema.tables:
            raise PlatformError(f"{public(self.url)} has no table {name!r}", "Is it MLflow's database, and upgraded?")
        return self._schema.tables[name]

    def _of(self, columns: Sequence[str], value: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        """Each table and condition by which rows name `value`, in an order that foreign keys allow to erase."""
        found = [
            (table, table.c[column] == value)
            for table in reversed(self._schema.sorted_tables)
            for column in columns
            if column in table.c and table.name not in ("model_versions", "inputs")
        ]
        return self._inputs(value) + found

    def _inputs(self, value: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        from sqlalchemy import or_, select

        inputs, tags = self._table("inputs"), self._table("input_tags")
        named = or_(inputs.c.source_id == value, inputs.c.destination_id == value)
        return [(tags, tags.c.input_uuid.in_(select(inputs.c.input_uuid).where(named))), (inputs, named)]

    def _of_run(self, run_id: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        from sqlalchemy import and_, select

        inputs, datasets = self._table("inputs"), self._table("datasets")
        ours = select(inputs.c.source_id).where(inputs.c.destination_id == run_id)
        others = select(inputs.c.source_id).where(inputs.c.destination_id != run_id)
        orphans = and_(datasets.c.dataset_uuid.in_(ours), datasets.c.dataset_uuid.not_in(others))
        return [(datasets, orphans), *self._of(RUN_COLUMNS, run_id)]

    def _of_version(self, name: str, version: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        from sqlalchemy import and_

        tables = [self._table(table) for table in ("model_version_tags", "registered_model_aliases", "model_versions")]
        return [(table, and_(table.c.name == name, table.c.version == int(version))) for table in tables]

    def _of_bot(self, name: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        names = ("model_version_tags", "registered_model_aliases", "model_versions", "registered_model_tags", "registered_models")
        return [(self._table(table), self._table(table).c.name == name) for table in names]

    def _collect(self, parts: "list[tuple[Table, ColumnElement[bool]]]") -> Rows:
        from sqlalchemy import select

        found: Rows = []
        with self._errors(), self._engine.connect() as connection:
            for table, condition in parts:
                rows = connection.execute(select(table).where(condition))
                found += [{"table": table.name, **dict(row._mapping)} for row in rows]
        return found

    def _erase(self, parts: "list[tuple[Table, ColumnElement[bool]]]") -> None:
        with self._errors(), self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for table, condition in parts:
                connection.execute(table.delete().where(condition))


def digest_of_rows(rows: Rows) -> str:
    """One SHA-256 over rows, whatever their order."""
    lines = sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
