"""What goes wrong with a hub, in words that say what to do."""

from components.errors import InputError, MynahError, PlatformError

TRIES = 6
TOKENS = "https://huggingface.co/settings/tokens"


class Again(Exception):  # noqa: N818 - not yet an error
    """A request failed for a reason that may pass. `wait`: the seconds that the hub asks for, if it does."""

    def __init__(self, error: PlatformError, wait: float | None = None, tries: int = TRIES) -> None:
        super().__init__(str(error))
        self.error, self.wait, self.tries = error, wait, tries


def passing(error: BaseException | None) -> Again | None:
    """The `Again` that led to an error: uploads wrap it."""
    while error and not isinstance(error, Again):
        error = error.__cause__
    return error if isinstance(error, Again) else None


def told(error: Exception, repository: str, endpoint: str) -> MynahError:
    """An error of huggingface_hub, or of one that is no hub, as one of ours."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, MynahError):
        return error
    if isinstance(error, HfHubHTTPError):
        said = (error.server_message or "").strip().split("\n")[0][:200]
        return _refusal(error.response.status_code, repository, said, endpoint)
    cause = f"{type(error).__name__}: {str(error).strip()[:300]}".replace("\n", " ")
    if isinstance(error, ValueError) and "Invalid metadata in README.md" in cause:
        return InputError(f"the hub does not take the card's front matter ({cause})", "Write the card again.")
    if isinstance(error, OSError):
        return PlatformError(f"a file that goes up cannot be read ({cause})", "Does something else remove it? Run again.")
    return PlatformError(f"{endpoint} answers as no hub does ({cause})", "Is it a Hugging Face hub? HF_ENDPOINT names it.")


def _refusal(status: int, repository: str, said: str, endpoint: str) -> MynahError:
    owner = repository.split("/")[0]
    words = f"{status}: {said}" if said else str(status)
    if status == 401:
        return InputError(f"the hub does not take the token ({words})", f"Set HF_TOKEN to one that may write: {TOKENS}.")
    if status == 403:
        return InputError(
            f"the hub does not let this token write to {repository} ({words})",
            f"Use a token that may write to {owner}'s repositories, or name a repository of yours.",
        )
    if status == 404:
        return InputError(f"the hub knows no {repository}, or no {owner} ({words})", "Look at the name behind hub:.")
    if status in (400, 402, 409, 413, 422):
        return InputError(f"the hub does not take {repository} ({words})", "Do what it says, or name another repository.")
    return PlatformError(f"{endpoint} failed ({words})", "Try again later.")
