"""Read Bluesky accounts (`bsky://handle`) through the public API, without a login, and repositories exported as a CAR file.

Uses the atproto package for requests, but reads responses as plain JSON: atproto's models reject a whole page for one odd record.
https://docs.bsky.app/docs/api/app-bsky-feed-get-author-feed

Only functions import atproto and httpx, which are of the extra `sources` and take 2 s to import.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.fetch import untrusted_json
from components.fetch.bluesky.car_file import DOWNLOAD_AGAIN, CarFile
from components.fetch.bluesky.posts import COLLECTION, key_of, post_of
from components.fetch.http.retry import PageReader, RetryPolicy
from components.fetch.http.session import BoundedSession
from components.fetch.skipped_posts import SkippedPosts
from components.fetch.sources import Content, printable
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_BLUESKY_API
from mynah.data.posts import Kind, Post

FEED, CAR = "bluesky", "bluesky-car"  # Content.kind, and Post.source of its posts
HANDLE = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[A-Za-z0-9.-]{3,250})")
PAGE = 100
PROFILE = "app.bsky.actor.profile/self"
OWN_EXPORT = "Its own export has them: in Bluesky under Settings, Account, Export my data; then name the .car file."
TRY_LATER = "Try again later; https://status.bsky.app lists current incidents."


def open_feed(handle: str, retry_policy: RetryPolicy | None = None) -> Content:
    """Open an account's feed.

    Args:
        handle: The handle, such as wren.bsky.social, or a DID.
        retry_policy: How to retry; by default RetryPolicy().

    Returns:
        All posts, newest first, with reposts and replies marked.

    Raises:
        InputError: The handle is invalid, or the account is unknown, suspended, deactivated, or hidden from people without a login.
        PlatformError: A rate limit or network failure.
    """
    name = handle.removeprefix("@")
    if not HANDLE.fullmatch(name) and not DID.fullmatch(name):
        fix = f"Write bsky://HANDLE with its domain, such as {re.sub('[^a-z0-9-]', '', name.lower())[:40] or 'wren'}.bsky.social."
        raise InputError(f"{printable(name)[:80]!r} is not a Bluesky handle", fix)
    web = BoundedSession(MYNAH_BLUESKY_API.get(), "Bluesky", _refusal(name), TRY_LATER, retry_policy or RetryPolicy())
    query = _client(web)
    profile = query("app.bsky.actor.getProfile", actor=name)
    did = untrusted_json.text(profile.get("did"))
    if not DID.fullmatch(did):
        raise PlatformError(f"Bluesky's response contains no account for {name}", TRY_LATER)
    if any(label.get("val") == "!no-unauthenticated" for label in untrusted_json.records(profile.get("labels"))):
        raise InputError(f"{name} asks Bluesky to show its posts only to people who are logged in", OWN_EXPORT)
    own = untrusted_json.text(profile.get("handle"))
    author = author_name(own if HANDLE.fullmatch(own) and own != "handle.invalid" else name)
    return Content(
        kind=FEED,
        basis="",
        size=0,
        posts=lambda _: _posts(query, did, author),
        author=author,
        display_name=untrusted_json.text(profile.get("displayName")),
        bio=untrusted_json.text(profile.get("description")),
        avatar=web.picture(profile.get("avatar")),
    )


def open_car(path: Path) -> Content:
    """Open the posts in a repository's CAR file; nothing else of it is read. Raises InputError when it is damaged or incomplete."""
    label = printable(path.name)
    car = CarFile(path, label)
    paths = car.paths(f"{COLLECTION}/", PROFILE)
    profiles = {cid: path for cid, path in paths.items() if path == PROFILE}
    posts = {cid: key_of(path) for cid, path in paths.items() if path.startswith(f"{COLLECTION}/")}
    profile = next((record for _, record in car.records(profiles, lambda _: None, SkippedPosts(label))), {}) if profiles else {}
    if HANDLE.fullmatch(path.stem):
        author = author_name(path.stem)
    else:
        author = author_name(car.did)
        notify(
            f"{label} does not contain its author's handle; the author is named {author}. Rename the file to HANDLE.car to change that."
        )

    def read(advance: Callable[[int], None]) -> Iterator[Post]:
        skipped, used = SkippedPosts(label), 0
        for key, record in car.records(posts, advance, skipped):
            if record.get("$type") == COLLECTION and isinstance(record.get("text"), str):
                used += 1
                yield post_of(record, key, car.did, author, CAR)
            else:
                skipped.add(key, "it has no text")
        skipped.finish(used, f"Is it the file of another program? {DOWNLOAD_AGAIN}")

    return Content(
        kind=CAR,
        basis="own-account",
        size=path.stat().st_size,
        posts=read,
        author=author,
        display_name=untrusted_json.text(profile.get("displayName")),
        bio=untrusted_json.text(profile.get("description")),
    )


Query = Callable[..., dict[str, Any]]  # query(name, **parameters) returns the response


def _client(web: BoundedSession) -> Query:
    """Return a function that sends queries with atproto's client through `web`."""
    import httpx
    from atproto_client.client.base import ClientBase
    from atproto_client.models.dot_dict import DotDict
    from atproto_client.request import Request

    class SessionTransport(httpx.BaseTransport):
        """httpx transport that sends requests through `web`, so that its limits apply."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = web.get(str(request.url), headers={"Accept": "application/json"})
            plain = printable(json.dumps(response.json(), ensure_ascii=False))  # atproto rejects half a surrogate pair
            return httpx.Response(response.status_code, headers={"content-type": "application/json"}, content=plain.encode())

    client = ClientBase(web.base, Request(transport=SessionTransport()))

    def query(name: str, **parameters: str | int) -> dict[str, Any]:
        try:
            return untrusted_json.record(client.invoke_query(name, params=DotDict(parameters)).content)
        except (ValueError, RecursionError) as error:
            raise PlatformError(
                f"Bluesky returned a response that atproto cannot parse ({untrusted_json.message_text(str(error))})", TRY_LATER
            ) from error

    return query


def _posts(query: Query, did: str, author: str) -> Iterator[Post]:
    skipped, pages, cursors = (
        SkippedPosts(f"bsky://{author}"),
        PageReader("Bluesky", author, TRY_LATER),
        set[str](),
    )
    cursor: dict[str, str] = {}
    while True:
        response = query("app.bsky.feed.getAuthorFeed", actor=did, limit=PAGE, filter="posts_with_replies", **cursor)
        if not isinstance(response.get("feed"), list):
            raise PlatformError("Bluesky's response contains no feed", TRY_LATER)
        for item in pages.fresh(untrusted_json.records(response["feed"]), _key):
            post = _post(item, did, author)
            if post:
                yield post
            else:
                skipped.add(
                    untrusted_json.text(untrusted_json.record(item.get("post")).get("uri")), "it has no text, or another author"
                )
        next_cursor = untrusted_json.text(response.get("cursor"))
        if not next_cursor:
            break
        if next_cursor in cursors:
            raise PlatformError(f"Bluesky's pages of {author} have no end", TRY_LATER)
        cursors.add(next_cursor)
        cursor = {"cursor": next_cursor}
    skipped.warn()


def _key(item: dict[str, Any]) -> str:
    """Return a key that is equal for equal items: a post may appear a second time as a repost."""
    post, reason = untrusted_json.record(item.get("post")), untrusted_json.record(item.get("reason"))
    return f"{post.get('uri')} {reason.get('uri')} {reason.get('indexedAt')}"


def _post(item: dict[str, Any], did: str, author: str) -> Post | None:
    """Convert an item of the feed (app.bsky.feed.defs#feedViewPost) to a Post; None for an item that cannot be used."""
    view, reason = untrusted_json.record(item.get("post")), untrusted_json.record(item.get("reason"))
    record, uri = untrusted_json.record(view.get("record")), untrusted_json.text(view.get("uri"))
    repost = untrusted_json.text(reason.get("$type")).endswith("#reasonRepost")
    author_did = untrusted_json.text(untrusted_json.record(view.get("author")).get("did"))
    if not isinstance(record.get("text"), str) or not key_of(uri) or (author_did != did and not repost):
        return None
    post = post_of(record, key_of(uri), author_did, author, FEED, untrusted_json.parse_time(view.get("indexedAt")))
    if not repost:
        return post
    # A repost is a record of its own; without its key, derive one from the post's, marked, since authors repost their own posts.
    key = key_of(untrusted_json.text(reason.get("uri"))) or f"repost-{post.id}"
    return Post(
        key,
        author,
        post.text,
        untrusted_json.parse_time(reason.get("indexedAt")),
        Kind.REPOST,
        post.language,
        FEED,
        post.entities,
    )


def _refusal(name: str) -> Callable[[int, dict[str, Any]], MynahError | None]:
    """Return a function that converts Bluesky's error responses to exceptions.

    Bluesky reports accounts that cannot be read with status 400 and an error name.
    """

    def refusal(status: int, response: dict[str, Any]) -> MynahError | None:
        if status == 429:
            return None
        error_name, message = (
            untrusted_json.message_text(response.get("error")),
            untrusted_json.message_text(response.get("message")),
        )
        if error_name == "AccountTakedown" or "suspended" in message.lower():
            return InputError(f"{name} is suspended on Bluesky", OWN_EXPORT)
        if error_name == "AccountDeactivated" or "deactivated" in message.lower():
            return InputError(f"{name} is deactivated on Bluesky", OWN_EXPORT)
        if status == 400 and ("not found" in message.lower() or "resolve" in message.lower()):
            return InputError(
                f"Bluesky has no account {name}", "Check the handle: it includes a domain, and it may have changed."
            )
        if status in (401, 403):
            return InputError(f"Bluesky does not show {name} without a login ({message or status})", OWN_EXPORT)
        return PlatformError(f"Bluesky refuses the request ({status}: {message or error_name or 'no reason'})", TRY_LATER)

    return refusal
