"""Where this machine keeps what can be made or fetched again."""

from pathlib import Path

from mynah.core.errors import PlatformError
from mynah.core.settings import MYNAH_CACHE, XDG_CACHE_HOME


def cache_folder(name: str) -> Path:
    """Return a folder below MYNAH_CACHE, else in the user's own; it may not exist. Raises PlatformError where the latter is unknown."""
    try:
        return (MYNAH_CACHE.get() or Path(XDG_CACHE_HOME.get(), "mynah")).expanduser() / name
    except RuntimeError as error:  # a user without a home, as containers may have
        raise PlatformError(f"no cache folder is known: {error}", "Set MYNAH_CACHE to a folder.") from error
