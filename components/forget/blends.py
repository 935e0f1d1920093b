"""Blends that lose an author: what of the other authors' posts is kept, and how the bot is made again from it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import Place, fetch_text, place
from components.avatars import avatar_names
from components.errors import InputError
from components.fetch.sources import SOURCES_FILE
from components.files import atomic_folder, make_folder, read_json, write_json
from components.forget.find import Found, Subject
from components.lineage import same_author
from components.posts import Post, write_posts
from components.store import Store, client, store_errors

REST = "rest-"  # within the folder of `forget`'s journals: rest-SUBJECT-BOT holds the posts and the order


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a blend: a folder of raw posts, and the parameters of the run that used them."""

    bot: str
    raw: Path
    params: dict[str, str]


def keep_rest(subject: Subject, found: Found, store: Store, folder: Path) -> None:
    """Put the other authors' posts of each blend's newest run that has any aside, before its run is erased. Twice does no harm.

    A bot that went on from a blend may have learnt of late from the posts of `subject` alone: then those of an earlier run are kept.
    """
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        started = {run.run_id: api.get_run(run.run_id).info.start_time for run in found.blends}
    for run in sorted(found.blends, key=lambda run: started[run.run_id], reverse=True):
        target = folder / f"{REST}{subject.key}-{run.bot}"
        if target.exists():
            continue
        fetched = next((run_id for run_id, step in run.steps.items() if step == "fetch"), "")
        if not fetched:
            raise InputError(f"the posts of {run.bot} are not recorded, so it cannot be made again", "Use --blends remove.")
        with store_errors(store.tracking_uri):
            params, uri = api.get_run(run.run_id).data.params, api.get_run(fetched).info.artifact_uri
        source = place(f"{uri}/raw", store.tracking_uri)
        rest = _rest(subject, source)
        if not rest:
            continue
        with atomic_folder(target) as scratch:
            _write_rest(subject, source, rest, scratch / "raw")
            write_json(
                scratch / "rest.json", {"bot": run.bot, "params": {key: params[key] for key in params if key != "sources"}}
            )


def _rest(subject: Subject, source: Place) -> list[Post]:
    posts = [Post.from_record(json.loads(line)) for line in fetch_text(source, "posts.jsonl").split("\n") if line]
    return [post for post in posts if not same_author(post.author, subject.name)]


def _write_rest(subject: Subject, source: Place, rest: list[Post], raw: Path) -> None:
    make_folder(raw)
    write_posts(raw, rest)
    sources = _without(subject, json.loads(fetch_text(source, SOURCES_FILE)), rest)
    write_json(raw / SOURCES_FILE, sources)
    there = source.files()
    for name in avatar_names(sources):
        if name in there:
            source.get(name, raw / name)


def _without(subject: Subject, sources: list[dict[str, Any]], rest: list[Post]) -> list[dict[str, Any]]:
    """The provenance of the other authors' sources; one file of several authors loses one of them."""
    found = []
    for source in sources:
        authors = [author for author in str(source["author"]).split(", ") if not same_author(author, subject.name)]
        if authors:
            count = sum(post.author in authors for post in rest)
            picture = source.get("avatar", "") if ", ".join(authors) == source["author"] else ""
            found.append({**source, "author": ", ".join(authors), "posts": count, "avatar": picture})
    return found


def kept_rests(subject: Subject, folder: Path) -> list[Rest]:
    """What was put aside of the blends that `subject` leaves, and is not yet made again."""
    found = []
    for path in sorted(folder.glob(f"{REST}{subject.key}-*/rest.json")):
        record = read_json(path, "forget")
        found.append(Rest(str(record["bot"]), path.parent / "raw", {str(k): str(v) for k, v in record["params"].items()}))
    return found


def drop_rest(rest: Rest) -> None:
    """Remove what was put aside, once the bot is made again."""
    shutil.rmtree(rest.raw.parent, ignore_errors=True)
