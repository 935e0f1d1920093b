"""Direct access to MLflow's database, for what its API cannot do: erase rows permanently, and find rows that are only marked as deleted.

Tables that reference a run or a model are found in the actual schema by their columns, so that additional tables of a later MLflow are
included. Works on sqlite and PostgreSQL. Importing SQLAlchemy takes 0.3 s, so only functions import it.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mynah.core.errors import InputError, PlatformError
from mynah.core.wait_for_server import ServerWait, when_reachable
from mynah.mlflow_client.store import Store, scrub

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData, Table
    from sqlalchemy.sql.elements import ColumnElement

MAX_VALUES = 400  # in one IN (…); sqlite allows 999
RUN_COLUMNS, MODEL_COLUMNS = ("run_uuid", "run_id"), ("model_id",)
Rows = list[dict[str, Any]]


class Database:
    """The database behind a store. Raises InputError where its address is unknown."""

    def __init__(self, store: Store) -> None:
        if not store.database:
            raise InputError(
                f"{store.shown} is a server, and finding and erasing all rows needs its database",
                "Name the cluster that it runs in with --context, or set MLFLOW_BACKEND_STORE_URI to the server's own value "
                "(postgresql+psycopg2://…).",
            )
        self.url, self.shown = store.database, store.database_shown

    @functools.cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import SQLAlchemyError

        # About ten seconds to the first error: sqlite waits for a lock, PostgreSQL for a connection.
        seconds = {"timeout": 10} if self.url.startswith("sqlite") else {"connect_timeout": 8}
        try:
            engine = create_engine(self.url, connect_args=seconds, pool_pre_ping=True)
        except SQLAlchemyError as error:
            raise InputError(
                f"MLFLOW_BACKEND_STORE_URI is not a database URL ({type(error).__name__})",
                "Set it to the server's own value: postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE",
            ) from error
        wait = ServerWait(f"the database {self.shown}")

        def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:  # noqa: ANN401 - SQLAlchemy's own
            return when_reachable(lambda: dialect.connect(*arguments, **options), wait)

        event.listen(engine, "do_connect", connect)
        return engine

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
                f"the database {self.shown} failed: {cause}", "Is it running, and may this user read and delete there?"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        if "_engine" in self.__dict__:  # else it was never created
            self._engine.dispose()

    def rows(self, table: str, column: str, values: Sequence[str]) -> Rows:
        """Return rows by the values of a column.

        Args:
            table: The table.
            column: The column.
            values: The values, any number of them.

        Returns:
            The rows as dicts.

        Raises:
            PlatformError: The database fails, or has no such table.
        """
        from sqlalchemy import select

        rows: Rows = []
        with self._errors(), self._engine.connect() as connection:
            for start in range(0, len(values), MAX_VALUES):
                condition = self._table(table).c[column].in_(values[start : start + MAX_VALUES])
                rows += [dict(row._mapping) for row in connection.execute(select(self._table(table)).where(condition))]
        return rows

    def rows_from(self, table: str, column: str, prefix: str) -> Rows:
        """Return rows by the prefix of a column.

        Args:
            table: The table.
            column: The column.
            prefix: The prefix of its value.

        Returns:
            The rows as dicts.

        Raises:
            PlatformError: The database fails, or has no such table.
        """
        from sqlalchemy import select

        condition = self._table(table).c[column].startswith(prefix, autoescape=True)
        with self._errors(), self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(self._table(table)).where(condition))]

    def run_rows(self, run_id: str) -> Rows:
        """Return every row of a run, including datasets that no other run uses."""
        return self._collect(self._of_run(run_id))

    def model_rows(self, model_id: str) -> Rows:
        """Return every row of a logged model."""
        return self._collect(self._of(MODEL_COLUMNS, model_id))

    def version_rows(self, name: str, version: str) -> Rows:
        """Return every row of a model version, including aliases that point to it."""
        return self._collect(self._of_version(name, version))

    def bot_rows(self, name: str) -> Rows:
        """Return every row of a registered model and its versions."""
        return self._collect(self._of_bot(name))

    def erase_run(self, run_id: str) -> None:
        """Erase a run permanently, in one transaction."""
        self._erase(self._of_run(run_id))

    def erase_model(self, model_id: str) -> None:
        """Erase a logged model's rows permanently."""
        self._erase(self._of(MODEL_COLUMNS, model_id))

    def erase_version(self, name: str, version: str) -> None:
        """Erase a model version permanently; MLflow's own deletion keeps its tags."""
        self._erase(self._of_version(name, version))

    def erase_bot(self, name: str) -> None:
        """Erase a registered model permanently."""
        self._erase(self._of_bot(name))

    def vacuum(self) -> None:
        """Remove erased rows from the database's files, where they would stay readable until they are overwritten."""
        from sqlalchemy import text

        with self._errors(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM"))

    def _table(self, name: str) -> "Table":
        if name not in self._schema.tables:
            raise PlatformError(f"{self.shown} has no table {name!r}", "Is it MLflow's database, and upgraded?")
        return self._schema.tables[name]

    def _of(self, columns: Sequence[str], value: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        """Return tables and conditions for rows that reference `value`, in an order that foreign keys allow to erase."""
        conditions = [
            (table, table.c[column] == value)
            for table in reversed(self._schema.sorted_tables)
            for column in columns
            if column in table.c and table.name not in ("model_versions", "inputs")
        ]
        return self._inputs(value) + conditions

    def _inputs(self, value: str) -> "list[tuple[Table, ColumnElement[bool]]]":
        from sqlalchemy import or_, select

        inputs, tags = self._table("inputs"), self._table("input_tags")
        references = or_(inputs.c.source_id == value, inputs.c.destination_id == value)
        return [(tags, tags.c.input_uuid.in_(select(inputs.c.input_uuid).where(references))), (inputs, references)]

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

        collected: Rows = []
        with self._errors(), self._engine.connect() as connection:
            for table, condition in parts:
                rows = connection.execute(select(table).where(condition))
                collected += [{"table": table.name, **dict(row._mapping)} for row in rows]
        return collected

    def _erase(self, parts: "list[tuple[Table, ColumnElement[bool]]]") -> None:
        with self._errors(), self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for table, condition in parts:
                connection.execute(table.delete().where(condition))


def digest_of_rows(rows: Rows) -> str:
    """Return one SHA-256 over rows, independent of their order."""
    lines = sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
