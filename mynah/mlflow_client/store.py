"""Addresses of the tracking store and its registry, and tag names that several parts share.

MLflow's own variables configure it: MLFLOW_TRACKING_URI (a server), MLFLOW_BACKEND_STORE_URI (the server's database, for locks and for
permanent erasure) and MLFLOW_ARTIFACTS_DESTINATION (the bucket behind a server that proxies artifacts).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.settings import MLFLOW_BACKEND_STORE_URI, MLFLOW_TRACKING_URI

EXPERIMENT = "mynah"
DATABASE = "mlflow.db"  # in the work folder
ARTIFACTS = "mlartifacts"  # beside it: the files of runs and models
SQLITE = "sqlite:///"
MAX_TAG = 5000  # characters; MLflow rejects more than 8,000

BOT_TAG = "mynah.bot"  # the bot of a pipeline run; also marks Mynah's registered models among others in the same registry


@dataclass(frozen=True, slots=True)
class BackendStore:
    """The database of an MLflow server."""

    url: str = field(repr=False)  # SQLAlchemy's, with the password
    shown: str  # for messages and receipts


@dataclass(frozen=True, slots=True)
class Store:
    """Where MLflow stores runs and their files."""

    tracking_uri: str
    artifact_root: str = ""  # "" for the server's default
    folder: Path | None = None  # the work folder, for caches and files of this machine; None in a pod
    backend: BackendStore | None = None  # a server's database, where it was found otherwise than in MLFLOW_BACKEND_STORE_URI

    @classmethod
    def in_folder(cls, workdir: Path) -> "Store":
        """Return the laptop's store: sqlite and a folder. Raises InputError for a path that sqlite's URL cannot represent."""
        root = workdir.resolve()
        if "?" in str(root):
            raise InputError(f"{str(root)!r} holds '?', which cannot stand in the address of a store", "Name another --workdir.")
        return cls(f"{SQLITE}{root / DATABASE}", (root / ARTIFACTS).as_uri(), root)

    @classmethod
    def from_environment(cls) -> "Store":
        """Return the store of MLFLOW_TRACKING_URI, which configures a pipeline's steps. Raises InputError when it is not set."""
        uri = MLFLOW_TRACKING_URI.get()
        if not uri:
            raise InputError("MLFLOW_TRACKING_URI is not set, so there is no registry", "Set it to the MLflow server's address.")
        folder = own_folder(uri)
        return cls.in_folder(folder) if folder else cls(uri)

    @property
    def is_server(self) -> bool:
        """Whether the store is an MLflow server."""
        return is_server(self.tracking_uri)

    @property
    def database(self) -> str:
        """SQLAlchemy's URL of the database itself; "" where unknown."""
        if self.backend:
            return self.backend.url
        return MLFLOW_BACKEND_STORE_URI.get() if self.is_server else self.tracking_uri

    @property
    def database_shown(self) -> str:
        """The database without a password."""
        return self.backend.shown if self.backend else public(self.database)

    @property
    def shown(self) -> str:
        """The URI without user name and password."""
        return public(self.tracking_uri)


def server_address() -> str:
    """Return the MLflow server that the environment names, or "". Raises InputError for another kind of address."""
    uri = MLFLOW_TRACKING_URI.get()
    if not uri or is_server(uri):
        return uri
    raise InputError(
        f"MLFLOW_TRACKING_URI is {public(uri)!r}, which is not an MLflow server",
        "Set it to http://… or https://…, or unset it: then --workdir holds the store.",
    )


def is_server(uri: str) -> bool:
    """Return whether `uri` is an MLflow server's."""
    return uri.startswith(("http://", "https://"))


def own_folder(tracking_uri: str) -> Path | None:
    """Return the work folder of a store that lies in one, with its database and all its files; None for a server."""
    return Path(tracking_uri.removeprefix(SQLITE)).parent if tracking_uri.startswith(SQLITE) else None


def scrub(text: str) -> str:
    """Return `text` with user names and passwords removed from URLs: libraries quote them in their messages."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def public(uri: str) -> str:
    """Return a URI without user name and password."""
    scheme, slashes, rest = uri.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def unsent_folder(workdir: Path) -> Path:
    """Return the folder of a work folder for records that steps could not send."""
    return workdir / ".unsent"


def cards_folder(workdir: Path) -> Path:
    """Return the default folder of a work folder for bots' cards, with a folder per bot."""
    return workdir / "cards"


def work_folders(store: Store | None) -> list[Path]:
    """Return the work folder of a store, which no output may replace; [] without one."""
    return [store.folder] if store and store.folder else []


def step_store() -> Store | None:
    """Return the store that the step's environment names, or None."""
    return Store.from_environment() if MLFLOW_TRACKING_URI.get() else None
