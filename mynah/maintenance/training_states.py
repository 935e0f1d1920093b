"""Find training states in folders and in S3: they hold weights learned from people's posts.

They are searched for directly, like uploads: an interrupted training run may have recorded nothing in MLflow, and a bucket with
versioning keeps removed objects.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mynah.core.names import BOT_NAME
from mynah.core.walking import listed, walk
from mynah.data.authors import same_author
from mynah.maintenance.erasers import ErasableItem, file_items, stored_items
from mynah.storage.local import FolderArtifactStore
from mynah.storage.s3 import S3ArtifactStore, erase_upload, s3_client, s3_errors
from mynah.training.state_backends import RUN_FOLDER_NAME, SCHEME, disk_errors
from mynah.training.state_format import DESCRIPTION, MAX_DESCRIPTION_BYTES, CorruptState, parse_description
from mynah.training.state_store import state_locations

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class KeptStates:
    """The states of one training run, including partially written ones."""

    address: str  # a folder, or s3://BUCKET/KEY
    bot: str
    place: str  # where states are kept, which holds the folder
    authors: set[str] = field(default_factory=set)
    unknown: bool = True  # no state names its authors
    changed: datetime = NEVER  # of its newest file
    is_gone: bool = True  # only older object versions are left

    def note(self, changed: datetime) -> None:
        """Record the modification time of one of its files."""
        self.changed = max(self.changed, changed)

    def read(self, data: bytes) -> None:
        """Read the authors from a state.json, if it is complete."""
        try:
            self.authors |= {str(author) for author in parse_description(data).values["authors"]}
            self.unknown = False
        except (CorruptState, KeyError, TypeError):
            return

    def is_of(self, author: str) -> bool:
        """Return whether it contains an author's posts; True where that is unknown."""
        return self.unknown or any(same_author(known, author) for known in self.authors)

    def remove(self) -> None:
        """Remove it; older versions of objects stay, for `mynah forget`."""
        if not self.address.startswith(SCHEME):
            FolderArtifactStore(Path(self.address), [Path(self.place)]).remove()
            with contextlib.suppress(OSError):
                Path(self.address).parent.rmdir()  # the bot's folder, if it is empty
            return
        store = _open_store(self.address)
        store.remove()
        for upload in store.uploads():
            erase_upload(upload)


def find_states(workdir: Path | None) -> Iterator[KeptStates]:
    """Yield the states of all training runs, wherever pipelines store them. Raises PlatformError when a place cannot be read."""
    for place in state_locations(workdir):
        yield from _in_bucket(place) if place.startswith(SCHEME) else _in_folder(Path(place))


def states_of_subject(workdir: Path | None, bot: str, author: str) -> Iterator[ErasableItem]:
    """Yield all items of the training states of a bot or an author.

    Args:
        workdir: The work folder.
        bot: The bot; "" for those of an author.
        author: The author, used where `bot` is "".

    Yields:
        The items to erase.

    Raises:
        PlatformError: A place cannot be read.
    """
    selected = [states for states in find_states(workdir) if (states.bot == bot if bot else states.is_of(author))]
    for states in selected:
        yield from stored_items(states.address, "") if states.address.startswith(SCHEME) else file_items(Path(states.address))
    addresses = {Path(states.address) for states in selected if not states.address.startswith(SCHEME)}
    for parent in sorted({address.parent for address in addresses}):
        if set(parent.iterdir()) <= addresses:  # the bot's folder, which is empty then
            yield ErasableItem("file", str(parent), "")


def _in_folder(root: Path) -> Iterator[KeptStates]:
    """Yield states with Mynah's names only: the folder may contain anything else."""
    with disk_errors(root):
        for folder in (folder for bot in listed(root) if BOT_NAME.fullmatch(bot.name) for folder in listed(bot)):
            if not (folder.is_dir() and RUN_FOLDER_NAME.fullmatch(folder.name)):
                continue
            states = KeptStates(str(folder), folder.parent.name, str(root), is_gone=False)
            for path in (folder, *walk(folder)):
                states.note(datetime.fromtimestamp(path.lstat().st_mtime, UTC))
                if path.name == DESCRIPTION and path.is_file() and path.stat().st_size <= MAX_DESCRIPTION_BYTES:
                    states.read(path.read_bytes())
            yield states


def _in_bucket(root: str) -> Iterator[KeptStates]:
    store, by_run = _open_store(root), dict[str, KeptStates]()

    def states_of(key: str) -> KeptStates | None:
        bot, _, rest = key.removeprefix(store.prefix).partition("/")
        training, slash, _ = rest.partition("/")
        if not (slash and BOT_NAME.fullmatch(bot) and RUN_FOLDER_NAME.fullmatch(training)):
            return None
        return by_run.setdefault(f"{bot}/{training}", KeptStates(f"{root}/{bot}/{training}", bot, root))

    with s3_errors(f"looking for training states in {root}"):
        for page in s3_client().get_paginator("list_object_versions").paginate(Bucket=store.bucket, Prefix=store.prefix):
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                states = states_of(item["Key"])
                if not states:
                    continue
                states.note(item["LastModified"])
                if "Size" not in item:  # a delete marker
                    continue
                states.is_gone = states.is_gone and not item["IsLatest"]
                if item["Key"].endswith(f"/{DESCRIPTION}") and item["Size"] <= MAX_DESCRIPTION_BYTES:
                    states.read(_body(store.bucket, item["Key"], item["VersionId"]))
        for page in s3_client().get_paginator("list_multipart_uploads").paginate(Bucket=store.bucket, Prefix=store.prefix):
            for item in page.get("Uploads", []):
                if states := states_of(item["Key"]):
                    states.note(item["Initiated"])
                    states.is_gone = False
    yield from by_run.values()


def _body(bucket: str, key: str, version: str) -> bytes:
    return bytes(s3_client().get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read())


def _open_store(address: str) -> S3ArtifactStore:
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    return S3ArtifactStore(bucket, prefix)
