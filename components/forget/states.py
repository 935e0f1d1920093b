"""Training states that lie about, in folders and in S3: they hold weights that were learnt from people's posts.

Found by themselves, as uploads are: a training that never ended may have told MLflow nothing, and a bucket with versions keeps what
was removed.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from components.artifact_s3 import S3Place, s3_client, s3_errors
from components.erase import Item, file_items, stored_items
from components.finetune.state_files import DESCRIPTION, LONGEST_DESCRIPTION, Broken, described
from components.finetune.state_shelves import SCHEME, TRAINING, disk_errors
from components.finetune.states import places
from components.lineage import same_author
from components.names import BOT_NAME

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Kept:
    """What there is of one training: its states, and what is left half-written of them."""

    address: str  # a folder, or s3://BUCKET/KEY
    bot: str
    authors: set[str] = field(default_factory=set)
    unknown: bool = True  # no state says whose posts they were
    changed: datetime = NEVER  # the newest of its files
    is_gone: bool = True  # only older versions of objects are left

    def note(self, changed: datetime) -> None:
        """A file of it, as it was last changed."""
        self.changed = max(self.changed, changed)

    def read(self, data: bytes) -> None:
        """Take the authors from a state.json, if it is whole."""
        try:
            self.authors |= {str(each) for each in described(data).values["authors"]}
            self.unknown = False
        except (Broken, KeyError, TypeError):
            return

    def is_of(self, author: str) -> bool:
        """Whether an author's posts are in it; where nothing tells, they are taken to be."""
        return self.unknown or any(same_author(each, author) for each in self.authors)

    def remove(self) -> None:
        """Remove it from its place; older versions of objects stay, for `mynah forget`."""
        from components.artifact_folder import FolderPlace
        from components.artifact_s3 import erase_upload

        if not self.address.startswith(SCHEME):
            FolderPlace(Path(self.address)).remove()
            with contextlib.suppress(OSError):
                Path(self.address).parent.rmdir()  # the bot's, when it holds no others
            return
        place = _place(self.address)
        place.remove()
        for upload in place.uploads():
            erase_upload(upload)


def kept_states(workdir: Path | None) -> Iterator[Kept]:
    """The states of all trainings, wherever pipelines keep them. Raises PlatformError when a place cannot be looked into."""
    for place in places(workdir):
        yield from _in_bucket(place) if place.startswith(SCHEME) else _in_folder(Path(place))


def states_of_subject(workdir: Path | None, bot: str, author: str) -> Iterator[Item]:
    """Everything of a bot, or where none is named of an author."""
    going = [each for each in kept_states(workdir) if (each.bot == bot if bot else each.is_of(author))]
    for each in going:
        yield from stored_items(each.address) if each.address.startswith(SCHEME) else file_items(Path(each.address))
    addresses = {Path(each.address) for each in going if not each.address.startswith(SCHEME)}
    for parent in sorted({address.parent for address in addresses}):
        if set(parent.iterdir()) <= addresses:  # the bot's folder, which then is empty
            yield Item("file", str(parent), "")


def _in_folder(root: Path) -> Iterator[Kept]:
    """Only what is named as this code names it: the folder may hold anything else too."""
    with disk_errors(root):
        for folder in sorted(root.glob("*/*")):
            if not (folder.is_dir() and TRAINING.fullmatch(folder.name) and BOT_NAME.fullmatch(folder.parent.name)):
                continue
            found = Kept(str(folder), folder.parent.name, is_gone=False)
            for path in (folder, *folder.rglob("*")):
                found.note(datetime.fromtimestamp(path.lstat().st_mtime, UTC))
                if path.name == DESCRIPTION and path.is_file() and path.stat().st_size <= LONGEST_DESCRIPTION:
                    found.read(path.read_bytes())
            yield found


def _in_bucket(root: str) -> Iterator[Kept]:
    place, found = _place(root), dict[str, Kept]()

    def kept(key: str) -> Kept | None:
        bot, _, rest = key.removeprefix(place.prefix).partition("/")
        training, slash, _ = rest.partition("/")
        if not (slash and BOT_NAME.fullmatch(bot) and TRAINING.fullmatch(training)):
            return None
        return found.setdefault(f"{bot}/{training}", Kept(f"{root}/{bot}/{training}", bot))

    with s3_errors(f"looking for training states in {root}"):
        for page in s3_client().get_paginator("list_object_versions").paginate(Bucket=place.bucket, Prefix=place.prefix):
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                each = kept(item["Key"])
                if not each:
                    continue
                each.note(item["LastModified"])
                if "Size" not in item:  # a delete marker
                    continue
                each.is_gone = each.is_gone and not item["IsLatest"]
                if item["Key"].endswith(f"/{DESCRIPTION}") and item["Size"] <= LONGEST_DESCRIPTION:
                    each.read(_body(place.bucket, item["Key"], item["VersionId"]))
        for page in s3_client().get_paginator("list_multipart_uploads").paginate(Bucket=place.bucket, Prefix=place.prefix):
            for item in page.get("Uploads", []):
                if each := kept(item["Key"]):
                    each.note(item["Initiated"])
                    each.is_gone = False
    yield from found.values()


def _body(bucket: str, key: str, version: str) -> bytes:
    return bytes(s3_client().get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read())


def _place(address: str) -> S3Place:
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    return S3Place(bucket, prefix)
