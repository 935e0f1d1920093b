"""Where the files of a work folder's store lie: inside the folder, wherever it is now.

MLflow records absolute addresses. After the folder was moved, copied, restored from a backup or mounted elsewhere they name another
place, which may be the original that lives on. So only the part below mlartifacts/ counts. The store of a server is not moved with a
folder: its addresses stay as they are.
"""

import os
import re
import urllib.parse
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.walking import leads_out
from mynah.mlflow_client.store import ARTIFACTS, DATABASE, Store, own_folder

# What a work folder consists of; none of it may be a link that leads out where something is written or erased.
PARTS = (DATABASE, ARTIFACTS, "runs", "cards", "cache", "checkpoints", "receipts", ".unsent", ".forgetting")
# The rest that Mynah and its libraries put there: the database's journals, locks, the key of receipts, the runner's cache.
OTHER_NAMES = re.compile(
    rf"{re.escape(DATABASE)}-\w+|\.mlflow\.lock|\.mynah-promote-.+\.lock|receipt-key\.pem|\.kfp_cache|\.DS_Store"
)


def file_path(uri: str) -> Path | None:
    """Return the path that an address names, which has the scheme file or none; None for another scheme."""
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme == "file":
        return Path(urllib.parse.unquote(parsed.path))
    return None if parsed.scheme else Path(uri)


def below_artifacts(path: Path) -> Path | None:
    """Return the part of a path below the last mlartifacts/ in it, where a work folder keeps it; None without one."""
    parts = path.parts
    if ARTIFACTS not in parts:
        return None
    return Path(*parts[len(parts) - parts[::-1].index(ARTIFACTS) :])


def path_in(folder: Path, uri: str) -> Path:
    """Return the path in a work folder of the artifacts at an address that its store recorded, wherever the folder was then.

    What is not below any mlartifacts/ was not recorded by Mynah, but registered by hand: it is read where it is, and neither written nor
    erased outside the work folder (`FolderArtifactStore`).

    Args:
        folder: The work folder, without links in its path.
        uri: The recorded address: a path, or a URI with the scheme file.

    Raises:
        InputError: The address is not an absolute path.
    """
    recorded = file_path(uri)
    if recorded is None or not recorded.is_absolute() or ".." in recorded.parts or "\0" in str(recorded):
        raise InputError(f"the store names files at {uri[:200]!r}, which is no absolute path", "Register the version again.")
    below = below_artifacts(recorded)
    return recorded if below is None else folder / ARTIFACTS / below


def current_uri(uri: str, tracking_uri: str) -> str:
    """Return where recorded artifacts lie now: in the work folder, for a store that lies in one; else the address itself.

    Raises InputError where a work folder's store names no absolute path.
    """
    folder = own_folder(tracking_uri)
    return path_in(folder, uri).as_uri() if folder and file_path(uri) is not None else uri


def is_own(name: str) -> bool:
    """Return whether Mynah or a library of it puts something of this name into a work folder."""
    return name in PARTS or OTHER_NAMES.fullmatch(name) is not None


def require_own_parts(store: Store) -> None:
    """Raise InputError when a part of the work folder is a link that leads out. Call it before something is written or erased.

    What a copied folder reaches through such a link belongs to the original too.
    """
    folder = store.folder
    for part in (folder / name for name in PARTS) if folder else ():
        if folder and part.is_symlink() and leads_out(part, folder):
            raise InputError(
                f"{part} is a link that leads out of the work folder, to {os.path.realpath(part)}: nothing is written or erased there",
                "Put what it leads to in its place, or name the folder that it is in with --workdir; then run again.",
            )
