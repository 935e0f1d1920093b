"""Open the artifact store that an MLflow artifact URI names."""

import urllib.parse

from mynah.core.errors import InputError
from mynah.core.settings import MLFLOW_ARTIFACTS_DESTINATION
from mynah.mlflow_client.store import ARTIFACTS, own_folder
from mynah.storage.base import ArtifactStore
from mynah.storage.local import FolderArtifactStore
from mynah.storage.mlflow_proxy import ProxyArtifactStore
from mynah.storage.s3 import S3ArtifactStore
from mynah.storage.work_folder import file_path, path_in


def open_artifact_store(uri: str, tracking_uri: str = "") -> ArtifactStore:
    """Open the artifact store at an MLflow artifact URI.

    Args:
        uri: A path, or a URI with the scheme file, s3 or mlflow-artifacts.
        tracking_uri: The store that recorded it: the MLflow server that proxies mlflow-artifacts, or the database of the work folder
            below which the files lie, whatever folder the address names.

    Raises:
        InputError: The scheme is not supported, or a work folder's store names no absolute path.
    """
    parsed, path = urllib.parse.urlparse(uri), file_path(uri)
    if path is not None:
        folder = own_folder(tracking_uri)
        return FolderArtifactStore(path_in(folder, uri), (folder, folder / ARTIFACTS)) if folder else FolderArtifactStore(path)
    if parsed.scheme == "s3":
        return S3ArtifactStore(parsed.netloc, parsed.path.strip("/"))
    if parsed.scheme == "mlflow-artifacts":
        return ProxyArtifactStore(uri, tracking_uri)
    raise InputError(f"artifacts at {uri[:200]!r} cannot be opened", "Mynah supports folders, s3:// and mlflow-artifacts:/.")


def direct_uri(uri: str) -> str:
    """Return the URI of an artifact's files themselves: s3://… also for one that the server proxies.

    The server's own MLFLOW_ARTIFACTS_DESTINATION names what is behind it. Raises InputError when it is not set.
    """
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme != "mlflow-artifacts":
        return uri
    destination = MLFLOW_ARTIFACTS_DESTINATION.get()
    if not destination:
        raise InputError(
            f"{uri} is behind the MLflow server, in an unknown bucket",
            "Set MLFLOW_ARTIFACTS_DESTINATION as the server has it (s3://BUCKET/PREFIX).",
        )
    return f"{destination.rstrip('/')}/{parsed.path.strip('/')}"
