"""Bluesky: `bsky://handle` from its public host, without a login, and the CAR file by which an account exports its repository.

By the atproto package; answers are read as plain JSON, for its models refuse a whole page over one odd record.
https://docs.bsky.app/docs/api/app-bsky-feed-get-author-feed
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.errors import InputError, MynahError, PlatformError
from components.events import say
from components.fetch import shapes
from components.fetch.bluesky_posts import COLLECTION, key_of, post_of
from components.fetch.car import CarFile
from components.fetch.patience import Pages, Patience
from components.fetch.sources import Content, printable
from components.fetch.web import Web
from components.names import author_name
from components.posts import Kind, Post

FEED, CAR = "bluesky", "bluesky-car"  # kinds of Content, and sources of its posts
ADDRESS = "https://public.api.bsky.app"
HANDLE = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[A-Za-z0-9.-]{3,250})")
PAGE = 100
PROFILE = "app.bsky.actor.profile/self"
OWN_EXPORT = "Its own export has them: in Bluesky under Settings, Account, Export my data; then name the .car file."
AGAIN = "Try again later; https://status.bsky.app tells what is broken there."


def open_feed(handle: str, patience: Patience | None = None) -> Content:
    """All posts of an account, newest first, reposts and replies flagged. `handle` may also be a DID.

    Raises InputError for a bad handle and for an account that is unknown, suspended, deactivated, or asks not to be shown to people
    without a login; PlatformError for limits and the network.
    """
    name = handle.removeprefix("@")
    if not HANDLE.fullmatch(name) and not DID.fullmatch(name):
        fix = f"Write bsky://HANDLE with its domain, such as {re.sub('[^a-z0-9-]', '', name.lower())[:40] or 'wren'}.bsky.social."
        raise InputError(f"{printable(name)[:80]!r} is no handle of Bluesky", fix)
    web = Web(os.environ.get("MYNAH_BLUESKY_API") or ADDRESS, "Bluesky", _refusal(name), AGAIN, patience or Patience())
    ask = _client(web)
    profile = ask("app.bsky.actor.getProfile", actor=name)
    did = shapes.text(profile.get("did"))
    if not DID.fullmatch(did):
        raise PlatformError(f"Bluesky's answer names no account for {name}", AGAIN)
    if any(label.get("val") == "!no-unauthenticated" for label in shapes.records(profile.get("labels"))):
        raise InputError(f"{name} asks Bluesky to show its posts only to people who are logged in", OWN_EXPORT)
    own = shapes.text(profile.get("handle"))
    author = author_name(own if HANDLE.fullmatch(own) and own != "handle.invalid" else name)
    return Content(
        kind=FEED,
        basis="",
        size=0,
        posts=lambda _: _posts(ask, did, author),
        author=author,
        display_name=shapes.text(profile.get("displayName")),
        bio=shapes.text(profile.get("description")),
        avatar=web.picture(profile.get("avatar")),
    )


def open_car(path: Path) -> Content:
    """The own posts in a repository's CAR file, and nothing else of it. Raises InputError when it is damaged or incomplete."""
    label = printable(path.name)
    car = CarFile(path, label)
    paths = car.paths(f"{COLLECTION}/", PROFILE)
    profiles = {cid: path for cid, path in paths.items() if path == PROFILE}
    posts = {cid: key_of(path) for cid, path in paths.items() if path.startswith(f"{COLLECTION}/")}
    profile = next((record for _, record in car.records(profiles, lambda _: None)), {}) if profiles else {}
    if HANDLE.fullmatch(path.stem):
        author = author_name(path.stem)
    else:
        author = author_name(car.did)
        say(f"{label} does not say its author's handle; they are called {author}. Name the file HANDLE.car to change that.")

    def read(advance: Callable[[int], None]) -> Iterator[Post]:
        left_out = shapes.LeftOut(label)
        for key, record in car.records(posts, advance):
            if record.get("$type") == COLLECTION and isinstance(record.get("text"), str):
                yield post_of(record, key, car.did, author, CAR)
            else:
                left_out.add(key, "it has no text")
        left_out.tell()

    return Content(
        kind=CAR,
        basis="own-account",
        size=path.stat().st_size,
        posts=read,
        author=author,
        display_name=shapes.text(profile.get("displayName")),
        bio=shapes.text(profile.get("description")),
    )


Ask = Callable[..., dict[str, Any]]  # the answer to a query with these parameters


def _client(web: Web) -> Ask:
    """atproto's client, whose requests go through `web`."""
    import httpx
    from atproto_client.client.base import ClientBase
    from atproto_client.models.dot_dict import DotDict
    from atproto_client.request import Request

    class Through(httpx.BaseTransport):
        """httpx's way into `web`, so that its limits hold."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = web.get(str(request.url), headers={"Accept": "application/json"})
            plain = printable(json.dumps(answer.json(), ensure_ascii=False))  # atproto refuses half a surrogate pair
            return httpx.Response(answer.status_code, headers={"content-type": "application/json"}, content=plain.encode())

    client = ClientBase(web.base, Request(transport=Through()))

    def ask(query: str, **parameters: str | int) -> dict[str, Any]:
        try:
            return shapes.record(client.invoke_query(query, params=DotDict(parameters)).content)
        except (ValueError, RecursionError) as error:
            raise PlatformError(f"Bluesky gave an answer that atproto cannot read ({shapes.words(str(error))})", AGAIN) from error

    return ask


def _posts(ask: Ask, did: str, author: str) -> Iterator[Post]:
    left_out, pages, marks = shapes.LeftOut(f"bsky://{author}"), Pages("Bluesky", author, AGAIN), set[str]()
    cursor: dict[str, str] = {}
    while True:
        answer = ask("app.bsky.feed.getAuthorFeed", actor=did, limit=PAGE, filter="posts_with_replies", **cursor)
        if not isinstance(answer.get("feed"), list):
            raise PlatformError("Bluesky's answer holds no feed", AGAIN)
        for item in pages.fresh(shapes.records(answer["feed"]), _key):
            post = _post(item, did, author)
            if post:
                yield post
            else:
                left_out.add(shapes.text(shapes.record(item.get("post")).get("uri")), "it has no text, or is another's")
        mark = shapes.text(answer.get("cursor"))
        if not mark:
            break
        if mark in marks:
            raise PlatformError(f"Bluesky's pages of {author} have no end", AGAIN)
        marks.add(mark)
        cursor = {"cursor": mark}
    left_out.tell()


def _key(item: dict[str, Any]) -> str:
    """The same for the same item: a post may come once more, as a repost."""
    post, reason = shapes.record(item.get("post")), shapes.record(item.get("reason"))
    return f"{post.get('uri')} {reason.get('uri')} {reason.get('indexedAt')}"


def _post(item: dict[str, Any], did: str, author: str) -> Post | None:
    """The post of an item of the feed (app.bsky.feed.defs#feedViewPost); None where it is none that can be used."""
    view, reason = shapes.record(item.get("post")), shapes.record(item.get("reason"))
    record, uri = shapes.record(view.get("record")), shapes.text(view.get("uri"))
    repost = shapes.text(reason.get("$type")).endswith("#reasonRepost")
    whose = shapes.text(shapes.record(view.get("author")).get("did"))
    if not isinstance(record.get("text"), str) or not key_of(uri) or (whose != did and not repost):
        return None
    post = post_of(record, key_of(uri), whose, author, FEED, shapes.moment(view.get("indexedAt")))
    if not repost:
        return post
    # A repost is a record of its own; where its name is not told, the post's does, marked: one may repost one's own post.
    key = key_of(shapes.text(reason.get("uri"))) or f"repost-{post.id}"
    return Post(key, author, post.text, shapes.moment(reason.get("indexedAt")), Kind.REPOST, post.language, FEED, post.entities)


def _refusal(name: str) -> Callable[[int, dict[str, Any]], MynahError | None]:
    """What Bluesky's refusals mean; it tells of accounts that cannot be read with status 400, and an error's name."""

    def refusal(status: int, answer: dict[str, Any]) -> MynahError | None:
        if status == 429:
            return None
        kind, said = shapes.words(answer.get("error")), shapes.words(answer.get("message"))
        if kind == "AccountTakedown" or "suspended" in said.lower():
            return InputError(f"{name} is suspended on Bluesky", OWN_EXPORT)
        if kind == "AccountDeactivated" or "deactivated" in said.lower():
            return InputError(f"{name} is deactivated on Bluesky", OWN_EXPORT)
        if status == 400 and ("not found" in said.lower() or "resolve" in said.lower()):
            return InputError(
                f"there is no account {name} on Bluesky", "Check the handle: it has a domain, and may have been changed."
            )
        if status in (401, 403):
            return InputError(f"Bluesky does not show {name} without a login ({said or status})", OWN_EXPORT)
        return PlatformError(f"Bluesky refuses the request ({status}: {said or kind or 'no reason'})", AGAIN)

    return refusal
