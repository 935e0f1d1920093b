"""Blends that lose an author: save the other authors' posts, from which the bot is trained again."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from components.forget.inventory import Inventory
from components.forget.subject import Subject
from mynah.core.erasing import erase
from mynah.core.errors import InputError
from mynah.core.files import atomic_folder, make_folder, read_json, write_json
from mynah.data.authors import same_author
from mynah.data.posts import POSTS_FILE, Post, write_posts
from mynah.data.source_records import SOURCES_FILE, SourceRecord, avatar_names, parse_sources, write_sources
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import Store
from mynah.storage.base import ArtifactStore, fetch_text
from mynah.storage.open import open_artifact_store

SAVED_PREFIX = "rest-"  # in the folder of `forget`'s journals: rest-SUBJECT-BOT holds the posts and the parameters


@dataclass(frozen=True, slots=True)
class RemainingPosts:
    """What remains of a blend: a folder of raw posts, and the parameters of the run that used them."""

    bot: str
    raw: Path
    params: dict[str, str]


def save_remaining(subject: Subject, inventory: Inventory, store: Store, folder: Path) -> None:
    """Save the other authors' posts of each blend's newest run that has any, before its run is erased. Repeating it is harmless.

    A bot that was continued from a blend may have been trained lately on posts of `subject` alone: then those of an earlier run are saved.

    Args:
        subject: The author to forget.
        inventory: Everything of the author.
        store: The tracking store.
        folder: Where to save the posts.

    Raises:
        InputError: The posts of a blend are not recorded.
        PlatformError: A store or the disk fails.
    """
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        started = {run.run_id: api.get_run(run.run_id).info.start_time for run in inventory.blends}
    for run in sorted(inventory.blends, key=lambda run: started[run.run_id], reverse=True):
        target = folder / f"{SAVED_PREFIX}{subject.key}-{run.bot}"
        if target.exists():
            continue
        fetched = next((run_id for run_id, step in run.steps.items() if step == "fetch"), "")
        if not fetched:
            raise InputError(f"the posts of {run.bot} are not recorded, so it cannot be trained again", "Use --blends remove.")
        with store_errors(store.tracking_uri):
            params, uri = api.get_run(run.run_id).data.params, api.get_run(fetched).info.artifact_uri
        source = open_artifact_store(f"{uri}/raw", store.tracking_uri)
        remaining = _posts_of_others(subject, source)
        if not remaining:
            continue
        with atomic_folder(target) as scratch:
            _write_remaining(subject, source, remaining, scratch / "raw")
            write_json(
                scratch / "rest.json", {"bot": run.bot, "params": {key: params[key] for key in params if key != "sources"}}
            )


def _posts_of_others(subject: Subject, source: ArtifactStore) -> list[Post]:
    posts = [Post.from_record(json.loads(line)) for line in fetch_text(source, POSTS_FILE).split("\n") if line]
    return [post for post in posts if not same_author(post.author, subject.name)]


def _write_remaining(subject: Subject, source: ArtifactStore, remaining: list[Post], raw: Path) -> None:
    make_folder(raw)
    write_posts(raw, remaining)
    sources = _without(subject, parse_sources(fetch_text(source, SOURCES_FILE), raw / SOURCES_FILE), remaining)
    write_sources(raw, sources)
    stored = source.files()
    for name in avatar_names(sources):
        if name in stored:
            source.get(name, raw / name)


def _without(subject: Subject, sources: list[SourceRecord], remaining: list[Post]) -> list[SourceRecord]:
    """Return the records of the other authors' sources; a file of several authors loses one of them."""
    sources_left = []
    for source in sources:
        authors = [author for author in source.authors if not same_author(author, subject.name)]
        if authors:
            count = sum(post.author in authors for post in remaining)
            avatar = source.avatar if authors == source.authors else ""
            sources_left.append(replace(source, author=", ".join(authors), posts=count, avatar=avatar))
    return sources_left


def saved_remaining(subject: Subject, folder: Path) -> list[RemainingPosts]:
    """Return the saved posts of the blends without `subject` that are not trained again yet."""
    saved = []
    for path in sorted(folder.glob(f"{SAVED_PREFIX}{subject.key}-*/rest.json")):
        record = read_json(path, "forget")
        saved.append(
            RemainingPosts(str(record["bot"]), path.parent / "raw", {str(k): str(v) for k, v in record["params"].items()})
        )
    return saved


def remove_saved(remaining: RemainingPosts) -> None:
    """Remove saved posts, once the bot is trained again."""
    erase(remaining.raw.parent, [remaining.raw.parent.parent])
