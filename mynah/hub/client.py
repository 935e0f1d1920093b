"""A Hugging Face hub, written to: whoever asks it gets a repository's state, one commit, or an error that says what to do.

huggingface_hub tries some requests again for as long as a server asks for, others never, and some for ever. Here every request that
fails for a reason that passes ends the attempt, and the attempt is made again as a whole: what was uploaded stays uploaded, and a
commit that was made is found made. https://huggingface.co/docs/huggingface_hub/package_reference/hf_api
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components.copies import Copy, hub_endpoint
from components.errors import InputError, MynahError
from components.events import say
from components.publish.trouble import TOKENS, passing, told
from components.store import public, scrub

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
WAITS = (1.0, 2.0, 4.0)  # seconds before another attempt, where the hub does not say how long
PATIENCE = 60.0  # seconds that all waits may take together
BY = "published by Mynah"  # ends each commit's title: nobody deletes a repository in which Mynah committed nothing
IGNORED = (".gitattributes",)  # the hub's own


@dataclass(frozen=True, slots=True)
class State:
    """A repository as the hub has it."""

    is_private: bool
    files: tuple[str, ...]  # but the hub's own

    @property
    def is_empty(self) -> bool:
        """Whether nobody put anything into it."""
        return not self.files


class Hub:
    """The hub that HF_ENDPOINT names, reached with the person's token. Methods raise InputError or PlatformError."""

    def __init__(self, endpoint: str, token: str) -> None:
        from huggingface_hub import HfApi

        self.endpoint = endpoint
        self._token = token
        self._api = HfApi(endpoint=endpoint, token=token)

    @classmethod
    def from_environment(cls, why: str) -> "Hub":
        """With HF_TOKEN, or the token that `hf auth login` keeps; `why` it is needed goes into the error where there is none."""
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
        if not re.fullmatch(r"[!-~]+", token):  # an HTTP library would quote it whole
            raise InputError("the hub's token holds characters that no token has", "Set HF_TOKEN anew.")
        return cls(endpoint, token)

    def state(self, repository: str) -> State | None:
        """The repository, or None where there is none that this token may see."""

        def look(api: "HfApi") -> State | None:
            from huggingface_hub.errors import RepositoryNotFoundError

            try:
                info = api.model_info(repository)
            except RepositoryNotFoundError as error:
                if error.response.status_code == 401:  # a token that is none: nothing can be said of the repository
                    raise
                return None
            files = tuple(each.rfilename for each in info.siblings or ())
            return State(bool(info.private), tuple(file for file in files if file not in IGNORED))

        return self._patiently(repository, look)

    def create(self, repository: str, *, private: bool) -> None:
        """Make the repository. One that is there already is no error: an answer may have been lost."""

        def make(api: "HfApi") -> None:
            from huggingface_hub.errors import HfHubHTTPError

            try:
                api.create_repo(repository, private=private)
            except HfHubHTTPError as error:
                if error.response.status_code != 409:
                    raise

        self._patiently(repository, make)

    def open_to_all(self, repository: str) -> None:
        """Make a private repository public."""
        self._patiently(repository, lambda api: api.update_repo_settings(repository, private=False))

    def commit(self, repository: str, files: Mapping[str, Path], title: str) -> str:
        """Make the repository hold exactly `files` (name to path), in one commit; return the commit. Nothing half-way is to be seen."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        def send(api: "HfApi") -> str:
            there = [each.rfilename for each in api.model_info(repository).siblings or () if each.rfilename not in IGNORED]
            operations: list[Any] = [CommitOperationAdd(name, path) for name, path in files.items()]
            operations += [CommitOperationDelete(name, is_folder=False) for name in there if name not in files]
            made = api.create_commit(repository, operations, commit_message=f"{title}, {BY}")
            return _commit_id(made.oid)

        return self._patiently(repository, send)

    def holds(self, copy: Copy) -> bool:
        """Whether a repository still holds what Mynah published there. Raises InputError where this token cannot tell."""
        if copy.endpoint != self.endpoint:
            raise InputError(
                f"{copy.url} is on another hub than {public(self.endpoint)}", f"Set HF_ENDPOINT={copy.endpoint}, and run again."
            )
        titles = self._patiently(copy.repository, lambda api: _titles(api, copy))
        if titles is None:
            self.require_owner(copy.repository)  # to others a private one looks like none
            return False
        if any(title.endswith(BY) for title in titles):
            return True
        return not copy.commit and self._is_empty(copy.repository)  # made, and the upload never ended

    def take_back(self, copy: Copy) -> None:
        """Delete a repository with what was published there. One that holds something else, whatever a tag says, stays, and is told."""
        if self.holds(copy):
            self.delete(copy.repository)
        elif self.state(copy.repository):
            say(
                f"{copy.url} is no more what Mynah published (another, or its history was rewritten), and stays: look at it",
                "warning",
            )

    def delete(self, repository: str) -> None:
        """Delete the repository, where it is there."""
        self._patiently(repository, lambda api: api.delete_repo(repository, missing_ok=True))

    def _is_empty(self, repository: str) -> bool:
        found = self.state(repository)
        return found is not None and found.is_empty

    def require_owner(self, repository: str) -> None:
        """Raise InputError unless the token is for the repository, its owner, or the organisation that owns it."""
        names = self._patiently(repository, lambda api: _reach(api.whoami()))
        owner = repository.split("/")[0]
        if not {owner.casefold(), repository.casefold()} & {name.casefold() for name in names}:
            whose = " or ".join(names[:5]) or "nobody"
            raise InputError(
                f"the token is for {whose}, and not for {owner}: it cannot write to {repository}, nor see whether that is there",
                f"Set HF_TOKEN to a token that may write for {owner}, or name another repository.",
            )

    def _patiently(self, repository: str, work: "Callable[[HfApi], T]") -> T:
        """Do `work`, again where it failed for a reason that passes; errors in words that say what to do."""
        from components.publish.client import impatiently

        waits, spent, tries = iter(WAITS), 0.0, 0
        with impatiently():
            while True:
                try:
                    return work(self._api)
                except Exception as error:
                    again = passing(error)
                    if not again:
                        raise self._plain(told(error, repository, public(self.endpoint))) from error
                    tries += 1
                    wait = next(waits, None) if again.wait is None else again.wait
                    if wait is None or tries >= again.tries or spent + wait > PATIENCE:
                        raise self._plain(again.error) from error
                if wait >= 1:
                    say(f"{again.error.problem}: trying again in {wait:.0f} s")
                time.sleep(wait)
                spent += wait

    def _plain(self, error: MynahError) -> MynahError:
        """The same without the token, should a server have sent it back."""
        return type(error)(*(scrub(text).replace(self._token, "***") for text in (error.problem, error.fix)))


def _commit_id(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{7,64}", text):
        raise ValueError(f"{str(text)[:80]!r} is no commit")
    return text


def _reach(who: Mapping[str, Any]) -> list[str]:
    """For whom a token may write, by the hub's whoami: accounts, or repositories where it is fine-grained."""
    token = who.get("auth", {}).get("accessToken", {})
    if token.get("role") != "fineGrained":
        return [str(each["name"]) for each in (who, *who.get("orgs", ()))]
    scopes = token.get("fineGrained", {}).get("scoped", ())
    return [str(each["entity"].get("name", "")) for each in scopes if "repo.write" in each.get("permissions", ())]


def _titles(api: "HfApi", copy: Copy) -> list[str] | None:
    """The titles of the commits that lead to the published one, itself first; [] where it is not there, None without the repository."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = api.list_repo_commits(copy.repository, revision=copy.commit or None)
    except RevisionNotFoundError:  # another repository, made under the name of the one that is gone
        return []
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            raise
        return None
    return [each.title for each in (found[:1] if copy.commit else found)]
