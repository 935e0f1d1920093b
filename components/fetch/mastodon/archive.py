"""Read the archive that an account exports at Mastodon, Akkoma, Pleroma, or another server of ActivityPub: the public posts in its outbox.json.

The outbox is an ActivityPub collection, https://www.w3.org/TR/activitypub/#outbox. A post's audience is in `to` and `cc`: the public
collection in `to` makes it public, in `cc` unlisted ("quiet public", as Mastodon now calls it), which anybody can read on the profile and
which the API returns without a login. Both are read here, as there. Only outbox.json, actor.json and the profile picture are opened:
likes, bookmarks, and posts to followers or individuals are beside them.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.fetch import untrusted_json
from components.fetch.archives.profile_picture import read_picture
from components.fetch.archives.zip_folder import Archive
from components.fetch.mastodon.html_text import html_text, is_readable
from components.fetch.skipped_posts import SkippedPosts
from components.fetch.sources import Content
from components.fetch.x.export_json import elements, single_value
from mynah.core.errors import InputError
from mynah.core.names import author_name
from mynah.data.posts import Kind, Post

KIND = "mastodon-archive"
OUTBOX, ACTOR = "outbox.json", "actor.json"
PUBLIC = {"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"}
QUOTES = ("quote", "quoteUri", "quoteUrl", "_misskey_quote")
# The last part of an address that is an id by itself: a number, a UUID, or a word of letters and digits. Others, such as a title, may recur.
OWN_ID = re.compile(r"[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=[A-Za-z]*[0-9])[0-9A-Za-z]{8,64}")
ACTIVITY = re.compile(r"(?:[/#](?:activity|create|announce))*/?$", re.IGNORECASE)  # behind the address of the activity's object
MAX_ID_CHARACTERS = 200
MAX_ADDRESS_CHARACTERS = 200_000_000  # of the addresses of all posts, which are held in memory
Advance = Callable[[int], None]


def open_outbox(archive: Archive) -> Content:
    """Open the public posts of an account's archive. Raises InputError when it is damaged or not such an archive."""
    outbox = min((name for name in archive.names if name.rpartition("/")[2] == OUTBOX), key=len, default="")
    folder = outbox.removesuffix(OUTBOX)
    if not outbox or f"{folder}{ACTOR}" not in archive.names:
        fix = "Name the archive as downloaded from the server: Preferences, Import and export, Request your archive."
        raise InputError(f"{archive.label}: is not a Mastodon archive: it lacks outbox.json or actor.json", fix)
    with closing(archive.chunks(f"{folder}{ACTOR}")) as chunks:
        actor = untrusted_json.record(single_value(chunks, f"{archive.label}, {folder}{ACTOR}"))
    address = untrusted_json.text(actor.get("id"))
    user, host = untrusted_json.text(actor.get("preferredUsername")), _host(address)
    if not user or not host:
        raise InputError(f"{archive.label}, {folder}{ACTOR}: does not name its account", "Request the archive again.")
    author = author_name(f"{user}@{host}")
    picture = untrusted_json.text(untrusted_json.record(actor.get("icon")).get("url"))
    return Content(
        kind=KIND,
        basis="own-account",
        size=2 * archive.size(outbox),  # the second reading knows the addresses of all posts
        posts=lambda advance: _posts(archive, outbox, address, author, advance),
        author=author,
        display_name=untrusted_json.text(actor.get("name")),
        bio=html_text(untrusted_json.text(actor.get("summary")))[0],
        avatar=read_picture(archive, f"{folder}{picture}" if picture else ""),
    )


def open_single_outbox(file: Archive, author: str) -> Content:
    """Open an outbox.json by itself, as Pixelfed gives it.

    Args:
        file: The file, as the only member of an archive.
        author: The author's name where the file has no post.

    Returns:
        The content; the author is the one of its first activity.

    Raises:
        InputError: The file is damaged.
    """
    [outbox] = file.names
    activities = (untrusted_json.record(activity) for _, activity in _activities(file, outbox, lambda _: None))
    address = next((address for activity in activities if (address := _address(activity.get("actor")))), "")
    user, host = address.rstrip("/").rpartition("/")[2].removeprefix("@"), _host(address)
    name = author_name(f"{user}@{host}" if user and host else author or Path(outbox).stem)
    return Content(
        kind=KIND,
        basis="own-account",
        size=2 * file.size(outbox),
        posts=lambda advance: _posts(file, outbox, address, name, advance),
        author=name,
    )


def _posts(archive: Archive, outbox: str, address: str, author: str, advance: Advance) -> Iterator[Post]:
    skipped, used = SkippedPosts(archive.label), 0
    own = _addresses((activity for _, activity in _activities(archive, outbox, advance)), f"{archive.label}, {outbox}")
    for place, activity in _activities(archive, outbox, advance):
        if isinstance(activity, dict) and not _is_public(activity):
            if not _has_audience(activity):
                skipped.add(place, "it does not say for whom it is")
            continue
        post = _post(untrusted_json.record(activity), address, author, own)
        if post:
            used += 1
            yield post
        else:
            skipped.add(place, "it has no id or no text, its text is too long, or it is another's")
    skipped.finish(used, "Request the archive again; if this file was edited, undo the edits.")


def _activities(archive: Archive, outbox: str, advance: Advance) -> Iterator[tuple[str, object]]:
    with closing(_counted(archive, outbox, advance)) as chunks:
        yield from elements(chunks, f"{archive.label}, {outbox}", "orderedItems")


def _addresses(activities: Iterable[object], place: str) -> set[str]:
    """Return the addresses of the account's own posts, by which its replies to itself are known: servers write them in many forms.

    Raises InputError where they fill the memory.
    """
    found, characters = set[str](), 0
    for activity in map(untrusted_json.record, activities):
        address = _address(activity.get("object"))
        if activity.get("type") == "Create" and address:
            found.add(address)
            characters += len(address) + MAX_ID_CHARACTERS  # and what Python needs for a text
            if characters > MAX_ADDRESS_CHARACTERS:
                problem = f"{place}: the addresses of its posts have more than {MAX_ADDRESS_CHARACTERS:,} characters"
                raise InputError(problem, "Give a part of the archive.")
    return found


def _has_audience(activity: dict[str, Any]) -> bool:
    """Return whether an activity says for whom it is; those that make no post need not."""
    note = untrusted_json.record(activity.get("object"))
    return activity.get("type") != "Create" or any(key in part for part in (activity, note) for key in ("to", "cc"))


def _is_public(activity: dict[str, Any]) -> bool:
    """Return whether an activity is public or unlisted. A boost's audience is in the activity, a post's in both it and its object."""
    note = untrusted_json.record(activity.get("object")) if activity.get("type") != "Announce" else {}
    addressed = note if "to" in note or "cc" in note else activity
    both = [addressed.get("to"), addressed.get("cc")]
    return any(str(target) in PUBLIC for field in both for target in (field if isinstance(field, list) else [field]))


def _post(activity: dict[str, Any], address: str, author: str, own: Collection[str]) -> Post | None:
    """Convert the object of an activity to a Post; None for one that is not a post or cannot be used."""
    if activity.get("type") == "Announce":
        boosted = _address(activity.get("object"))  # author and text are not in the archive
        when = untrusted_json.parse_time(activity.get("published"))
        return Post(_identity(activity.get("id")), author, boosted, when, Kind.REPOST, source=KIND) if boosted else None
    note = untrusted_json.record(activity.get("object"))
    identity, html = _identity(note.get("id")), _html(note)
    if activity.get("type") != "Create" or not identity or not is_readable(html) or _is_anothers(note, address, activity):
        return None
    text, entities = html_text(untrusted_json.text(html))
    reply_to = _address(note.get("inReplyTo"))
    answers_itself = reply_to in own or reply_to.startswith(f"{address}/")
    quotes = any(note.get(key) for key in QUOTES)
    return Post(
        id=identity,
        author=author,
        text=text,
        created_at=untrusted_json.parse_time(note.get("published")),
        kind=Kind.REPLY if reply_to else Kind.QUOTE if quotes else Kind.ORIGINAL,
        language=_language(note, html),
        source=KIND,
        entities=entities,
        reply_to=_identity(reply_to) if answers_itself else reply_to[:MAX_ID_CHARACTERS],
        reply_to_self=answers_itself,
        edited_at=untrusted_json.parse_time(note.get("updated")),
    )


def _html(note: dict[str, Any]) -> object:
    """Return the text: `content`, or where that is missing the first one of `contentMap`, which names its language.

    https://www.w3.org/TR/activitystreams-vocabulary/#dfn-content
    """
    content = note.get("content")
    if isinstance(content, str) and content:
        return content
    by_language = untrusted_json.record(note.get("contentMap")).values()
    return next((html for html in by_language if isinstance(html, str) and html), content)


def _language(note: dict[str, Any], html: object) -> str:
    """Return the language of the text where `contentMap` leaves no doubt."""
    by_language = untrusted_json.record(note.get("contentMap"))
    same = [language for language, content in by_language.items() if content == html]
    languages = same if len(same) == 1 else list(by_language)
    return untrusted_json.text(languages[0]) if len(languages) == 1 else ""


def _is_anothers(note: dict[str, Any], address: str, activity: dict[str, Any]) -> bool:
    """Return whether the note names another author than the account and than the activity."""
    by = _address(note.get("attributedTo"))
    return bool(by) and by not in (address, _address(activity.get("actor")))


def _address(value: object) -> str:
    """Return the address of an object, which may be given by itself, by its address, or as a list of either."""
    first = value[0] if isinstance(value, list) and value else value
    return untrusted_json.text(first["id"] if isinstance(first, dict) and "id" in first else first)


def _identity(address: object) -> str:
    """Return the id of a post: the last part of https://host/users/wren/statuses/123, or of any address, that is an id by itself.

    Else it is the address without its scheme. The suffixes of activities are left out.
    """
    plain = ACTIVITY.sub("", untrusted_json.text(address)[: 2 * MAX_ID_CHARACTERS])
    last = plain.rpartition("/")[2]
    return (last if OWN_ID.fullmatch(last) else plain.removeprefix("https://").removeprefix("http://"))[:MAX_ID_CHARACTERS]


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
