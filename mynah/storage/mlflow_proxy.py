"""An artifact store behind MLflow's server (mlflow-artifacts:/), for clients without a key to the bucket."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mynah.core.errors import PlatformError
from mynah.core.files import storage_errors
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.compat import artifact_request, proxied_artifacts
from mynah.mlflow_client.store import public, scrub
from mynah.storage.base import CHUNK, StoredFile, no_such_file, sha256

SECONDS_PER_FILE = 600  # the server responds to an upload only when all of it is in its bucket


class ProxyArtifactStore:
    """A folder behind the server's artifact proxy."""

    def __init__(self, uri: str, tracking_uri: str) -> None:
        self.uri = uri
        self._tracking_uri = tracking_uri
        client(tracking_uri)  # checks that the server responds, and bounds the waits
        with store_errors(tracking_uri):
            self._repository = proxied_artifacts(uri, tracking_uri)

    def check(self) -> None:
        """List this folder. Raises PlatformError when that fails."""
        next(iter(self._listed(None)), None)

    def put(self, name: str, path: Path) -> None:
        """Upload the file in one streamed request."""
        with path.open("rb") as file:
            self._request("PUT", name, data=file)

    def files(self) -> dict[str, StoredFile]:
        """Return the files of this folder; the proxy lists their sizes, but no digests."""
        return dict(self._listed(None))

    def get(self, name: str, path: Path) -> None:
        """Download the file `name` to `path`, all or nothing. Raises InputError when it does not exist."""
        partial = path.with_name(f".{path.name}.tmp")
        try:
            with storage_errors(path), self._reading(name) as response, partial.open("wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def same(self, name: str, path: Path) -> bool:
        """Read the file back and compare the SHA-256: the proxy has no digests."""
        total = hashlib.sha256()
        with self._reading(name) as response:
            for chunk in response.iter_content(CHUNK):
                total.update(chunk)
        return total.hexdigest() == sha256(path)

    def remove(self) -> None:
        """Remove the files through the server; older versions in its bucket are out of reach."""
        if self.files():
            import requests

            try:
                with store_errors(self._tracking_uri):
                    self._repository.delete_artifacts()
            except requests.RequestException as error:
                raise PlatformError(
                    f"removing {self.uri} failed: {scrub(str(error))[:200]}", "The MLflow server's log says why."
                ) from error

    def _listed(self, folder: str | None) -> Iterator[tuple[str, StoredFile]]:
        import requests

        try:
            with store_errors(self._tracking_uri):
                items = self._repository.list_artifacts(folder)
        except requests.RequestException as error:
            if error.response is not None and error.response.status_code == 404:
                return
            raise PlatformError(
                f"listing {self.uri} failed: {scrub(str(error))[:200]}", "The MLflow server's log says why."
            ) from error
        for item in items:
            if item.is_dir:
                yield from self._listed(item.path)
            else:
                yield item.path, StoredFile(int(item.file_size or 0))

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        import requests

        response = self._request("GET", name, stream=True)
        try:
            yield response
        except requests.RequestException as error:
            raise PlatformError(f"reading {self.uri}/{name} broke off: {error}", "Run again.") from error
        finally:
            response.close()

    def _request(self, method: str, name: str, **options: Any) -> Any:  # noqa: ANN401 - a response of requests
        with store_errors(self._tracking_uri):
            response = artifact_request(self._repository, method, name, timeout=SECONDS_PER_FILE, **options)
        if response.status_code == 404 and method == "GET":
            raise no_such_file(f"{self.uri}/{name}")
        if response.status_code != 200:
            raise PlatformError(
                f"{method} {self.uri}/{name}: the MLflow server {public(self._tracking_uri)} answered {response.status_code}",
                "Its log says why: can it reach its bucket, with the right key?",
            )
        return response
