"""sources.json: where posts come from, who wrote them, and on what legal basis they are used."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField
from mynah.data.avatars import AVATAR

SOURCES_FILE = "sources.json"  # in the folders that `mynah fetch` and `mynah filter` wrote


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Where posts came from: one per source, written to `sources.json` as a list of objects."""

    source: str  # "archive:my-export.zip", "x://wren": form and file name or account only, never a machine's path
    kind: str  # x-export, csv, mastodon-archive, reddit-export, …: the KIND of the reader in components/fetch
    author: str  # several authors in one file are separated by ", "
    display_name: str
    bio: str
    posts: int
    first: str  # the oldest and the newest post, ISO 8601 in UTC, or "" where no post has a time
    last: str
    sha256: str  # of the file, or of a folder's files with their names; of an account the posts that it gave
    fetched_at: str  # ISO 8601, UTC
    basis: str  # own-account, permission or public-figure-research
    avatar: str = ""  # "avatar-1.png", the profile picture beside sources.json; "" where there is none
    counts: Mapping[str, int] = field(default_factory=dict)  # of the posts, by their kind: original, reply, quote, repost

    @property
    def authors(self) -> list[str]:
        """The handles of its authors."""
        return self.author.split(", ")

    @classmethod
    def from_json(cls, source: JsonField) -> "SourceRecord":
        """Convert one entry of sources.json. Raises InputError naming the field that is missing or has the wrong type."""
        avatar = source.get("avatar").value
        counts = source.get("counts")
        return cls(
            source=source["source"].text(),
            kind=source["kind"].text(),
            author=source["author"].text(),
            display_name=source["display_name"].text(),
            bio=source["bio"].text(),
            posts=source["posts"].count(),
            first=source["first"].text(),
            last=source["last"].text(),
            sha256=source["sha256"].text(),
            fetched_at=source["fetched_at"].text(),
            basis=source["basis"].text(),
            # A path could name any file of this machine; an invalid name must not fail the step.
            avatar=avatar if isinstance(avatar, str) and AVATAR.fullmatch(avatar) else "",
            counts={} if counts.value is None else {kind: count.count() for kind, count in counts.pairs()},
        )


def read_sources(folder: Path) -> list[SourceRecord]:
    """Read sources.json of a folder that `mynah fetch` or `mynah filter` wrote, also of an earlier version.

    Raises:
        InputError: The file is missing or has another shape.
    """
    return [SourceRecord.from_json(source) for source in JsonField.read(folder / SOURCES_FILE, "fetch").list()]


def parse_sources(text: str, path: Path) -> list[SourceRecord]:
    """Read the content of a sources.json from a store.

    Args:
        text: The content.
        path: Its location, for messages.

    Returns:
        The records, in the file's order.

    Raises:
        InputError: It is not JSON, or has another shape.
    """
    try:
        sources = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}", "Run `mynah fetch` again.") from error
    return [SourceRecord.from_json(source) for source in JsonField(path, "fetch", sources).list()]


def write_sources(folder: Path, sources: Iterable[SourceRecord]) -> None:
    """Write sources.json into `folder`. Raises PlatformError when the disk refuses."""
    write_json(folder / SOURCES_FILE, [asdict(source) for source in sources])


def avatar_names(sources: Sequence[SourceRecord]) -> list[str]:
    """Return the names of the sources' profile pictures."""
    return [source.avatar for source in sources if source.avatar]
