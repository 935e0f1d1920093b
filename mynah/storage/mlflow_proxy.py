"""Artifacts that MLflow's server hands through (mlflow-artifacts:/), for clients that have no key to the bucket."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.artifacts import CHUNK, Stored, missing, sha256
from components.errors import PlatformError
from components.files import storage_errors
from components.store import client, public, scrub, store_errors

SECONDS_A_FILE = 600  # the server answers an upload only when all of it lies in its bucket


class ServerPlace:
    """A folder behind the server's artifact proxy."""

    def __init__(self, uri: str, tracking_uri: str) -> None:
        self.uri = uri
        self._tracking_uri = tracking_uri
        client(tracking_uri)  # asks whether the server answers, and bounds the waits
        from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

        with store_errors(tracking_uri):
            self._repository = MlflowArtifactsRepository(uri, tracking_uri)

    def check(self) -> None:
        """List this folder."""
        next(iter(self._listed(None)), None)

    def put(self, name: str, path: Path) -> None:
        """Send the file in one streamed request."""
        with path.open("rb") as file:
            self._request("PUT", name, data=file)

    def files(self) -> dict[str, Stored]:
        """The files below; the proxy tells their sizes, and no digests."""
        return dict(self._listed(None))

    def get(self, name: str, path: Path) -> None:
        """Download, all or nothing."""
        half = path.with_name(f".{path.name}.tmp")
        try:
            with storage_errors(path), self._reading(name) as answer, half.open("wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)

    def same(self, name: str, path: Path) -> bool:
        """Read it back and compare the SHA-256: the proxy keeps no digest."""
        total = hashlib.sha256()
        with self._reading(name) as answer:
            for chunk in answer.iter_content(CHUNK):
                total.update(chunk)
        return total.hexdigest() == sha256(path)

    def remove(self) -> None:
        """Remove the files through the server; versions that its bucket keeps are beyond it."""
        if self.files():
            import requests

            try:
                with store_errors(self._tracking_uri):
                    self._repository.delete_artifacts()
            except requests.RequestException as error:
                raise PlatformError(
                    f"removing {self.uri} failed: {scrub(str(error))[:200]}", "The MLflow server's log says why."
                ) from error

    def _listed(self, folder: str | None) -> Iterator[tuple[str, Stored]]:
        import requests

        try:
            with store_errors(self._tracking_uri):
                found = self._repository.list_artifacts(folder)
        except requests.RequestException as error:
            if error.response is not None and error.response.status_code == 404:
                return
            raise PlatformError(
                f"listing {self.uri} failed: {scrub(str(error))[:200]}", "The MLflow server's log says why."
            ) from error
        for item in found:
            if item.is_dir:
                yield from self._listed(item.path)
            else:
                yield item.path, Stored(int(item.file_size or 0))

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        import requests

        answer = self._request("GET", name, stream=True)
        try:
            yield answer
        except requests.RequestException as error:
            raise PlatformError(f"reading {self.uri}/{name} broke off: {error}", "Run again.") from error
        finally:
            answer.close()

    def _request(self, method: str, name: str, **options: Any) -> Any:  # noqa: ANN401 - an answer of requests
        from mlflow.utils.rest_utils import http_request

        with store_errors(self._tracking_uri):
            answer = http_request(self._repository._host_creds, f"/{name}", method, timeout=SECONDS_A_FILE, **options)
        if answer.status_code == 404 and method == "GET":
            raise missing(f"{self.uri}/{name}")
        if answer.status_code != 200:
            raise PlatformError(
                f"{method} {self.uri}/{name}: the MLflow server {public(self._tracking_uri)} answered {answer.status_code}",
                "Its log says why: can it reach its bucket, with the right key?",
            )
        return answer
