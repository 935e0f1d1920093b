"""Mastodon and what speaks as it does: `mastodon://user@host`, by Mastodon.py and without a login.

GET /api/v1/accounts/lookup, then /api/v1/accounts/:id/statuses, whose Link header leads on.
https://docs.joinmastodon.org/methods/accounts/
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from components.errors import InputError, MynahError, PlatformError
from components.events import say
from components.fetch import shapes
from components.fetch.html_text import html_text, is_readable
from components.fetch.mastodon_archive import OUTBOX, open_outbox
from components.fetch.patience import Pages, Patience
from components.fetch.sources import Content, printable
from components.fetch.web import Refusal, Web
from components.names import author_name
from components.posts import Kind, Post

if TYPE_CHECKING:
    from mastodon import Mastodon

__all__ = ["OUTBOX", "open_account", "open_outbox"]

SOURCE = "mastodon"
PAGE = 40  # the most that Mastodon gives
USER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(
    rf"(?=.{{4,253}}$)(?:{LABEL}\.)+(?!\d+$){LABEL}"
)  # a name, and no number: what an address names is nobody's instance
HERE = (".localhost", ".localdomain", ".local", ".internal", ".home.arpa", ".lan", ".svc")  # names of one's own machine and net
EVERYBODY = ("public", "unlisted")  # visibilities
AGAIN = "Try again later; the server may be down, or block this network."
OWN_EXPORT = "Its own archive has them: on that server under Preferences, Import and export, Request your archive."

T = TypeVar("T")


def open_account(account: str, patience: Patience | None = None) -> Content:
    """All public posts of user@host, newest first, boosts and replies flagged.

    Raises InputError for a bad handle, for an account that is unknown or suspended, and a server that shows nothing without a login;
    PlatformError for limits and the network.
    """
    user, host = _handle(account)
    web = Web(
        os.environ.get("MYNAH_MASTODON_API") or f"https://{host}", host, _refusal(user, host), AGAIN, patience or Patience()
    )
    client = _client(web)
    found = shapes.record(_asked(web, lambda: client.account_lookup(user)))
    identity = str(found.get("id") or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", identity):
        raise PlatformError(f"{host} answered with no account: is it a Mastodon server?", AGAIN)
    if found.get("suspended") is True:
        raise InputError(f"{user}@{host} is suspended", f"Its posts cannot be had there. {OWN_EXPORT}")
    if moved := shapes.words(shapes.record(found.get("moved")).get("acct")):
        say(f"{user}@{host} has moved to {moved}: what it posted there is another source", "warning")
    author = author_name(f"{shapes.text(found.get('username')) or user}@{host}")
    return Content(
        kind=SOURCE,
        basis="",
        size=0,
        posts=lambda _: _posts(web, client, identity, author),
        author=author,
        display_name=shapes.text(found.get("display_name")),
        bio=html_text(shapes.text(found.get("note")))[0],
        avatar=web.picture(found.get("avatar_static") or found.get("avatar")),
    )


def _handle(account: str) -> tuple[str, str]:
    """User and host of user@host. Raises InputError for anything else, such as a login, a path, or a number for a host."""
    user, at, host = account.removeprefix("@").rpartition("@")
    name, colon, port = host.lower().partition(":")
    try:
        name = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        name = ""
    right_port = not colon or (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536)
    if not at or not USER.fullmatch(user) or not HOST.fullmatch(name) or name.endswith(HERE) or not right_port:
        fix = "Write mastodon://USER@HOST, such as mastodon://wren@mastodon.social."
        raise InputError(f"{printable(account)[:80]!r} is no account of Mastodon", fix)
    return user, name + colon + port


def _client(web: Web) -> "Mastodon":
    from mastodon import Mastodon

    return Mastodon(api_base_url=web.base, session=web, ratelimit_method="throw", version_check_mode="none")


def _asked(web: Web, call: Callable[[], T]) -> T:
    """What `call` of Mastodon.py returns; its errors as ours, which it wraps."""
    from mastodon import MastodonError

    try:
        return call()
    except MastodonError as error:
        if isinstance(error.__context__, MynahError):
            raise error.__context__ from None
        raise PlatformError(
            f"{web.name} gave an answer that Mastodon.py cannot read ({shapes.words(str(error))})", AGAIN
        ) from error


def _posts(web: Web, client: "Mastodon", identity: str, author: str) -> Iterator[Post]:
    left_out, pages = shapes.LeftOut(f"mastodon://{author}"), Pages(web.name, author, AGAIN)
    page = _asked(web, lambda: client.account_statuses(identity, limit=PAGE))
    while page is not None:
        if not isinstance(page, list) or (page and not shapes.records(page)):
            raise PlatformError(f"{web.name}'s answer holds no posts", AGAIN)
        for status in pages.fresh(shapes.records(page), lambda each: str(each.get("id"))):
            post = _post(status, identity, author)
            if post:
                yield post
            elif status.get("visibility") in EVERYBODY:
                left_out.add(str(status.get("id") or ""), "it has no id or no text, or one that is too long")
        page = _asked(web, lambda page=page: client.fetch_next(page))  # type: ignore[misc]
    left_out.tell()


def _post(status: dict[str, Any], identity: str, author: str) -> Post | None:
    """A status as it is now, edits done; None where it is not for everybody, or none that can be used.

    https://docs.joinmastodon.org/entities/Status/
    """
    boosted = shapes.record(status.get("reblog"))
    content = boosted.get("content") if boosted else status.get("content")
    if not status.get("id") or not is_readable(content) or status.get("visibility") not in EVERYBODY:
        return None
    text, entities = html_text(shapes.text(content))
    answered = _identity(status.get("in_reply_to_id"))
    quotes = status.get("quote") or status.get("quote_id")
    return Post(
        id=_identity(status["id"]),
        author=author,
        text=text,
        created_at=shapes.moment(status.get("created_at")),
        kind=Kind.REPOST if boosted else Kind.REPLY if answered else Kind.QUOTE if quotes else Kind.ORIGINAL,
        language=shapes.text((boosted or status).get("language")),
        source=SOURCE,
        entities=entities,
        reply_to=answered,
        reply_to_self=bool(answered) and str(status.get("in_reply_to_account_id")) == identity,
        client=shapes.text(shapes.record(status.get("application")).get("name")),
    )


def _identity(value: object) -> str:
    """A status's id: Mastodon's are numbers, in text; those of its kin are any word."""
    return printable(str(value or ""))[:200]


def _refusal(user: str, host: str) -> Refusal:
    """What a refusal means; https://docs.joinmastodon.org/api/guidelines/ and each server's own rules."""

    def refusal(status: int, answer: dict[str, Any]) -> MynahError | None:
        if status == 429:
            return None
        said = shapes.words(answer.get("error"))
        if status in (401, 403, 422):
            return InputError(f"{host} shows nothing of {user} without a login ({status}: {said or 'no reason'})", OWN_EXPORT)
        if status == 404:
            fix = "Check the handle; where a server has another name than its handles (social.example.org), name the server."
            return InputError(f"there is no account {user} on {host}", fix)
        if status == 410:
            return InputError(f"the account {user} on {host} is gone for good", OWN_EXPORT)
        return PlatformError(f"{host} refuses the request ({status}: {said or 'no reason'})", AGAIN)

    return refusal
