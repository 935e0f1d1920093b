"""Who serves, of all bots at once: what a server asks every two seconds, while it answers its readers.

MLflow's client makes objects of every bot's newest version, tags and all. For 1,000 bots that is 140 ms of this process's time on
sqlite and 83 ms with a server (measured on two cores); one query of the same tables is 1 ms, and the server's JSON as it comes 11 ms.
"""

import contextlib
import sqlite3
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

from components.errors import PlatformError
from components.names import BOT_NAME
from components.store import BOT_TAG, SECONDS_TO_OPEN, Store, client, public, store_errors

Aliases = dict[str, dict[str, int]]  # bot -> alias -> version
SEARCH = "/api/2.0/mlflow/registered-models/search"
PAGE = 1000  # the most that MLflow gives at once
SECONDS_TO_ANSWER = 5.0

BOTS = """
    SELECT tags.name, aliases.alias, aliases.version FROM registered_model_tags AS tags
    LEFT JOIN registered_model_aliases AS aliases ON aliases.name = tags.name WHERE tags.key = ? ORDER BY tags.name"""


def all_aliases(store: Store) -> Aliases:
    """Every bot of the registry, also one without a version, and its aliases. Raises PlatformError when the store fails."""
    found: Aliases = {}
    for name, alias, version in _in_sqlite(store) if not store.is_server else _on_server(store):
        if BOT_NAME.fullmatch(name):
            mine = found.setdefault(name, {})
            if alias and version:
                mine[alias] = int(version)
    return found


def _in_sqlite(store: Store) -> list[tuple[str, str | None, int | None]]:
    path = urllib.parse.quote(store.tracking_uri.removeprefix("sqlite:///"))
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=SECONDS_TO_OPEN)) as database:
            return database.execute(BOTS, (BOT_TAG,)).fetchall()
    except sqlite3.Error as error:
        raise PlatformError(
            f"the tracking store {store.shown} failed: {error}", "Is it there, and no other program's?"
        ) from error


def _on_server(store: Store) -> Iterator[tuple[str, str | None, int | None]]:
    for model in _pages(store):
        if any(tag["key"] == BOT_TAG for tag in model.get("tags", ())):
            yield model["name"], None, None
            for alias in model.get("aliases", ()):
                yield model["name"], alias["alias"], alias["version"]


def _pages(store: Store) -> Iterator[dict[str, Any]]:
    client(store.tracking_uri)  # it sets what MLflow reads from the environment
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    credentials = get_default_host_creds(store.tracking_uri)
    wanted: dict[str, Any] = {"max_results": PAGE}
    while True:
        with store_errors(store.tracking_uri):
            answer = http_request(credentials, SEARCH, "GET", params=wanted, timeout=SECONDS_TO_ANSWER, max_retries=0)
        yield from _models(store, answer)
        token = answer.json().get("next_page_token")
        if not token:
            return
        wanted = {"max_results": PAGE, "page_token": token}


def _models(store: Store, answer: Any) -> Iterable[dict[str, Any]]:  # noqa: ANN401 - a response of requests
    """The registered models of a page. Raises PlatformError for what is no page: a proxy's error, a login form."""
    try:
        if answer.status_code != 200:
            raise ValueError(f"it answers {answer.status_code}")
        return list(answer.json().get("registered_models", ()))
    except (ValueError, AttributeError, TypeError) as error:
        raise PlatformError(
            f"the tracking store {public(store.tracking_uri)} failed: {str(error)[:200]}",
            "Is it an MLflow server, and may you read it?",
        ) from error
