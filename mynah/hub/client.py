"""A client of a Hugging Face hub: a repository's state, atomic commits, and errors with a fix.

huggingface_hub retries some requests as long as a server asks, others never, and some for ever. Here a transient failure ends the whole
attempt, and the attempt is repeated: uploaded files stay uploaded, and a commit that succeeded is found.
https://huggingface.co/docs/huggingface_hub/package_reference/hf_api
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mynah.core.errors import InputError, MynahError
from mynah.core.progress import notify
from mynah.hub.errors import TOKENS, as_mynah_error, retryable_cause
from mynah.mlflow_client.store import public, scrub
from mynah.registry.published_copies import PublishedCopy, hub_endpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
BACKOFF = (1.0, 2.0, 4.0)  # seconds before another attempt, where the hub names no time
MAX_TOTAL_WAIT = 60.0  # seconds of all waits together
TITLE_SUFFIX = "published by Mynah"  # ends each commit's title: a repository without Mynah's commits is never deleted
IGNORED = (".gitattributes",)  # the hub's own


@dataclass(frozen=True, slots=True)
class State:
    """The state of a repository on the hub."""

    is_private: bool
    files: tuple[str, ...]  # without the hub's own

    @property
    def is_empty(self) -> bool:
        """Whether it has no files."""
        return not self.files


class Hub:
    """The hub that HF_ENDPOINT names, with the person's token. Methods raise InputError or PlatformError."""

    def __init__(self, endpoint: str, token: str) -> None:
        from huggingface_hub import HfApi

        self.endpoint = endpoint
        self._token = token
        self._api = HfApi(endpoint=endpoint, token=token)

    @classmethod
    def from_environment(cls, why: str) -> "Hub":
        """Create a client with HF_TOKEN, or the token that `hf auth login` stored. `why` it is needed is part of the error about a missing one."""
        from huggingface_hub import constants, get_token

        endpoint = hub_endpoint()
        if constants.is_offline_mode():
            raise InputError(f"{why} needs the hub, and HF_HUB_OFFLINE keeps it away", "Unset HF_HUB_OFFLINE.")
        token = get_token()
        if not token:
            raise InputError(
                f"{why} needs a token of the hub, and there is none",
                f"Set HF_TOKEN to one that may write ({TOKENS}), or run `hf auth login`.",
            )
        if not re.fullmatch(r"[!-~]+", token):  # an HTTP library would print it
            raise InputError("the hub's token contains characters that no token has", "Set HF_TOKEN again.")
        return cls(endpoint, token)

    def state(self, repository: str) -> State | None:
        """Return the state of a repository, or None where this token can see none."""

        def look(api: "HfApi") -> State | None:
            from huggingface_hub.errors import RepositoryNotFoundError

            try:
                info = api.model_info(repository)
            except RepositoryNotFoundError as error:
                if error.response.status_code == 401:  # an invalid token: nothing is known about the repository
                    raise
                return None
            files = tuple(sibling.rfilename for sibling in info.siblings or ())
            return State(bool(info.private), tuple(file for file in files if file not in IGNORED))

        return self._retry(repository, look)

    def create(self, repository: str, *, private: bool) -> None:
        """Create the repository. An existing one is no error: a response may have been lost."""

        def make(api: "HfApi") -> None:
            from huggingface_hub.errors import HfHubHTTPError

            try:
                api.create_repo(repository, private=private)
            except HfHubHTTPError as error:
                if error.response.status_code != 409:
                    raise

        self._retry(repository, make)

    def open_to_all(self, repository: str) -> None:
        """Make a private repository public."""
        self._retry(repository, lambda api: api.update_repo_settings(repository, private=False))

    def commit(self, repository: str, files: Mapping[str, Path], title: str) -> str:
        """Replace the repository's content in one atomic commit.

        Args:
            repository: ORG/NAME.
            files: Paths by name.
            title: The commit's title.

        Returns:
            The commit's id.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        def send(api: "HfApi") -> str:
            existing = [item.rfilename for item in api.model_info(repository).siblings or () if item.rfilename not in IGNORED]
            operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
            operations += [CommitOperationDelete(name, is_folder=False) for name in existing if name not in files]
            commit = api.create_commit(repository, operations, commit_message=f"{title}, {TITLE_SUFFIX}")
            return _commit_id(commit.oid)

        return self._retry(repository, send)

    def holds(self, copy: PublishedCopy) -> bool:
        """Return whether a repository still holds what Mynah published. Raises InputError where this token cannot see it."""
        if copy.endpoint != self.endpoint:
            raise InputError(
                f"{copy.url} is on another hub than {public(self.endpoint)}", f"Set HF_ENDPOINT={copy.endpoint}, and run again."
            )
        titles = self._retry(copy.repository, lambda api: _titles(api, copy))
        if titles is None:
            self.require_owner(copy.repository)  # others cannot see a private one
            return False
        if any(title.endswith(TITLE_SUFFIX) for title in titles):
            return True
        return not copy.commit and self._is_empty(copy.repository)  # created, but never uploaded to

    def take_back(self, copy: PublishedCopy) -> None:
        """Delete a repository with what was published there. One with other content is kept, with a warning, whatever a tag says."""
        if self.holds(copy):
            self.delete(copy.repository)
        elif self.state(copy.repository):
            notify(
                f"{copy.url} no longer holds what Mynah published (it is another one, or its history was rewritten), and is kept: check it",
                "warning",
            )

    def delete(self, repository: str) -> None:
        """Delete the repository, if it exists."""
        self._retry(repository, lambda api: api.delete_repo(repository, missing_ok=True))

    def _is_empty(self, repository: str) -> bool:
        state = self.state(repository)
        return state is not None and state.is_empty

    def require_owner(self, repository: str) -> None:
        """Raise InputError unless the token can write to the repository, as its owner or for the organization that owns it."""
        names = self._retry(repository, lambda api: _reach(api.whoami()))
        owner = repository.split("/")[0]
        if not {owner.casefold(), repository.casefold()} & {name.casefold() for name in names}:
            accounts = " or ".join(names[:5]) or "nobody"
            raise InputError(
                f"the token is for {accounts}, and not for {owner}: it cannot write to {repository}, nor see whether that is there",
                f"Set HF_TOKEN to a token that may write for {owner}, or name another repository.",
            )

    def _retry(self, repository: str, work: "Callable[[HfApi], T]") -> T:
        """Do `work`, again after transient failures; errors are converted to MynahError with a fix."""
        from mynah.hub.http import bounded_http

        waits, spent, attempts = iter(BACKOFF), 0.0, 0
        with bounded_http():
            while True:
                try:
                    return work(self._api)
                except Exception as error:
                    retryable = retryable_cause(error)
                    if not retryable:
                        raise self._plain(as_mynah_error(error, repository, public(self.endpoint))) from error
                    attempts += 1
                    wait = next(waits, None) if retryable.wait is None else retryable.wait
                    if wait is None or attempts >= retryable.tries or spent + wait > MAX_TOTAL_WAIT:
                        raise self._plain(retryable.error) from error
                if wait >= 1:
                    notify(f"{retryable.error.problem}: trying again in {wait:.0f} s")
                time.sleep(wait)
                spent += wait

    def _plain(self, error: MynahError) -> MynahError:
        """Return the error without the token, which a server may have sent back."""
        return type(error)(*(scrub(text).replace(self._token, "***") for text in (error.problem, error.fix)))


def _commit_id(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{7,64}", text):
        raise ValueError(f"{str(text)[:80]!r} is not a commit")
    return text


def _reach(who: Mapping[str, Any]) -> list[str]:
    """Return what a token can write to, from the hub's whoami: accounts, or repositories where it is fine-grained."""
    token = who.get("auth", {}).get("accessToken", {})
    if token.get("role") != "fineGrained":
        return [str(account["name"]) for account in (who, *who.get("orgs", ()))]
    scopes = token.get("fineGrained", {}).get("scoped", ())
    return [str(scope["entity"].get("name", "")) for scope in scopes if "repo.write" in scope.get("permissions", ())]


def _titles(api: "HfApi", copy: PublishedCopy) -> list[str] | None:
    """Return the titles of the commits up to the published one, newest first; [] where it does not exist, None without the repository."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        commits = api.list_repo_commits(copy.repository, revision=copy.commit or None)
    except RevisionNotFoundError:  # another repository under the same name
        return []
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            raise
        return None
    return [commit.title for commit in (commits[:1] if copy.commit else commits)]
