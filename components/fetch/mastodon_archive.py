"""The archive that a Mastodon account exports: the posts in its outbox.json that are addressed to everybody.

An ActivityPub collection, https://www.w3.org/TR/activitypub/#outbox. Whom a post is for stands in `to` and `cc`: everybody in `to`
makes it public, in `cc` unlisted ("quiet public", as Mastodon calls it now), which anybody may read on the profile and which the API
gives without a login. Both are read here, as there. Only it, actor.json and the profile picture are ever opened:
likes, bookmarks, and posts to followers or to single people lie beside them.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from components.errors import InputError
from components.fetch import shapes
from components.fetch.archives import Archive
from components.fetch.html_text import html_text, is_readable
from components.fetch.json_parts import elements, single_value
from components.fetch.profile_picture import read_picture
from components.fetch.sources import Content
from components.names import author_name
from components.posts import Kind, Post

KIND = "mastodon-archive"
OUTBOX, ACTOR = "outbox.json", "actor.json"
PUBLIC = {"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"}
QUOTES = ("quote", "quoteUri", "quoteUrl", "_misskey_quote")
Advance = Callable[[int], None]


def open_outbox(archive: Archive) -> Content:
    """The public posts of an account's archive. Raises InputError when it is none, or damaged."""
    outbox = min((name for name in archive.names if name.rpartition("/")[2] == OUTBOX), key=len, default="")
    folder = outbox.removesuffix(OUTBOX)
    if not outbox or f"{folder}{ACTOR}" not in archive.names:
        fix = "Name the archive as the server gave it: Preferences, Import and export, Request your archive."
        raise InputError(f"{archive.label}: is no archive of Mastodon: it lacks outbox.json or actor.json", fix)
    with closing(archive.chunks(f"{folder}{ACTOR}")) as chunks:
        actor = shapes.record(single_value(chunks, f"{archive.label}, {folder}{ACTOR}"))
    address = shapes.text(actor.get("id"))
    user, host = shapes.text(actor.get("preferredUsername")), _host(address)
    if not user or not host:
        raise InputError(f"{archive.label}, {folder}{ACTOR}: does not say whose it is", "Request the archive anew.")
    author = author_name(f"{user}@{host}")
    picture = shapes.text(shapes.record(actor.get("icon")).get("url"))
    return Content(
        kind=KIND,
        basis="own-account",
        size=archive.size(outbox),
        posts=lambda advance: _posts(archive, outbox, address, author, advance),
        author=author,
        display_name=shapes.text(actor.get("name")),
        bio=html_text(shapes.text(actor.get("summary")))[0],
        avatar=read_picture(archive, f"{folder}{picture}" if picture else ""),
    )


def _posts(archive: Archive, outbox: str, address: str, author: str, advance: Advance) -> Iterator[Post]:
    left_out = shapes.LeftOut(archive.label)
    with closing(_counted(archive, outbox, advance)) as chunks:
        for place, element in elements(chunks, f"{archive.label}, {outbox}", "orderedItems"):
            activity = shapes.record(element)
            if not _is_public(activity):
                continue
            post = _post(activity, address, author)
            if post:
                yield post
            else:
                left_out.add(place, "it is no post with an id and a text, or its text is too long")
    left_out.tell()


def _is_public(activity: dict[str, Any]) -> bool:
    """Whether it is addressed to everybody, loudly or quietly. A boost says so in the activity, a post in both."""
    note = shapes.record(activity.get("object"))
    addressed = note if "to" in note or "cc" in note else activity
    both = [addressed.get("to"), addressed.get("cc")]
    return any(str(each) in PUBLIC for some in both for each in (some if isinstance(some, list) else [some]))


def _post(activity: dict[str, Any], address: str, author: str) -> Post | None:
    """The post that an activity made; None for one that made none, or none that can be used."""
    if activity.get("type") == "Announce":
        boosted = shapes.text(activity.get("object"))  # only its address: whose it is, and what it says, lies elsewhere
        when = shapes.moment(activity.get("published"))
        return Post(_number(activity.get("id")), author, boosted, when, Kind.REPOST, source=KIND) if boosted else None
    note = shapes.record(activity.get("object"))
    identity = _number(note.get("id"))
    if activity.get("type") != "Create" or not identity or not is_readable(note.get("content")):
        return None
    text, entities = html_text(shapes.text(note["content"]))
    languages = list(shapes.record(note.get("contentMap")))
    answered = shapes.text(note.get("inReplyTo"))
    own = answered.startswith(f"{address}/")
    quotes = any(note.get(key) for key in QUOTES)
    return Post(
        id=identity,
        author=author,
        text=text,
        created_at=shapes.moment(note.get("published")),
        kind=Kind.REPLY if answered else Kind.QUOTE if quotes else Kind.ORIGINAL,
        language=shapes.text(languages[0]) if len(languages) == 1 else "",
        source=KIND,
        entities=entities,
        reply_to=_number(answered) if own else answered[:200],
        reply_to_self=own,
    )


def _number(address: object) -> str:
    """The last part of https://host/users/wren/statuses/123, or of what an activity adds to it."""
    return shapes.text(address).removesuffix("/activity").rpartition("/")[2][:200]


def _host(address: str) -> str:
    try:
        parts = urlsplit(address)
        return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return ""


def _counted(archive: Archive, member: str, advance: Advance) -> Generator[bytes, None, None]:
    with closing(archive.chunks(member)) as chunks:
        for chunk in chunks:
            yield chunk
            advance(len(chunk))
