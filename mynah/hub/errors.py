"""Errors of a hub, with a fix."""

from mynah.core.errors import InputError, MynahError, PlatformError

TRIES = 6
TOKENS = "https://huggingface.co/settings/tokens"


class RetryableError(Exception):
    """A transient failure of a request. `wait`: the seconds that the hub asks to wait, if it does."""

    def __init__(self, error: PlatformError, wait: float | None = None, tries: int = TRIES) -> None:
        super().__init__(str(error))
        self.error, self.wait, self.tries = error, wait, tries


def retryable_cause(error: BaseException | None) -> RetryableError | None:
    """Return the `RetryableError` that caused an error: uploads wrap it."""
    while error and not isinstance(error, RetryableError):
        error = error.__cause__
    return error if isinstance(error, RetryableError) else None


def as_mynah_error(error: Exception, repository: str, endpoint: str) -> MynahError:
    """Convert an error of huggingface_hub, or from a server that is not a hub."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, MynahError):
        return error
    if isinstance(error, HfHubHTTPError):
        message = (error.server_message or "").strip().split("\n")[0][:200]
        return _refusal(error.response.status_code, repository, message, endpoint)
    cause = f"{type(error).__name__}: {str(error).strip()[:300]}".replace("\n", " ")
    if isinstance(error, ValueError) and "Invalid metadata in README.md" in cause:
        return InputError(f"the hub rejects the card's front matter ({cause})", "Write the card again.")
    if isinstance(error, OSError):
        return PlatformError(f"a file to upload cannot be read ({cause})", "Was it removed by another process? Run again.")
    return PlatformError(f"{endpoint} answers as no hub does ({cause})", "Is it a Hugging Face hub? HF_ENDPOINT names it.")


def _refusal(status: int, repository: str, message: str, endpoint: str) -> MynahError:
    owner = repository.split("/")[0]
    details = f"{status}: {message}" if message else str(status)
    if status == 401:
        return InputError(f"the hub does not take the token ({details})", f"Set HF_TOKEN to one that may write: {TOKENS}.")
    if status == 403:
        return InputError(
            f"the hub does not let this token write to {repository} ({details})",
            f"Use a token that may write to {owner}'s repositories, or name a repository of yours.",
        )
    if status == 404:
        return InputError(f"the hub knows no {repository}, or no {owner} ({details})", "Look at the name behind hub:.")
    if status in (400, 402, 409, 413, 422):
        return InputError(f"the hub does not take {repository} ({details})", "Do what it says, or name another repository.")
    return PlatformError(f"{endpoint} failed ({details})", "Try again later.")
