"""Read Mastodon accounts (`mastodon://user@host`), also on compatible servers, with Mastodon.py and without a login.

GET /api/v1/accounts/lookup, then /api/v1/accounts/:id/statuses, which a Link header paginates.
https://docs.joinmastodon.org/methods/accounts/

Only functions import Mastodon.py, which is of the extra `sources` and takes 0.3 s to import.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from components.fetch import untrusted_json
from components.fetch.http.retry import PageReader, RetryPolicy
from components.fetch.http.session import BoundedSession, ErrorOfResponse
from components.fetch.mastodon.archive import OUTBOX, open_outbox
from components.fetch.mastodon.html_text import html_text, is_readable
from components.fetch.skipped_posts import SkippedPosts
from components.fetch.sources import Content, printable
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_MASTODON_API
from mynah.data.posts import Kind, Post

if TYPE_CHECKING:
    from mastodon import Mastodon

__all__ = ["OUTBOX", "open_account", "open_outbox"]

SOURCE = "mastodon"
PAGE = 40  # Mastodon's maximum
USER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"(?=.{{4,253}}$)(?:{LABEL}\.)+(?!\d+$){LABEL}")  # a name and not an IP address, which no instance uses
LOCAL_HOSTS = (
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".home.arpa",
    ".lan",
    ".svc",
)  # names on this machine and its network
PUBLIC_VISIBILITIES = ("public", "unlisted")
TRY_LATER = "Try again later; the server may be down, or block this network."
OWN_EXPORT = "Its own archive has them: on that server under Preferences, Import and export, Request your archive."

T = TypeVar("T")


def open_account(account: str, retry_policy: RetryPolicy | None = None) -> Content:
    """Open an account's public posts.

    Args:
        account: USER@HOST.
        retry_policy: How to retry; by default RetryPolicy().

    Returns:
        All public posts, newest first, with boosts and replies marked.

    Raises:
        InputError: The handle is invalid, the account is unknown or suspended, or the server shows nothing without a login.
        PlatformError: A rate limit or network failure.
    """
    user, host = _handle(account)
    web = BoundedSession(
        MYNAH_MASTODON_API.get() or f"https://{host}", host, _refusal(user, host), TRY_LATER, retry_policy or RetryPolicy()
    )
    client = _client(web)
    profile = untrusted_json.record(_call(web, lambda: client.account_lookup(user)))
    identity = str(profile.get("id") or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", identity):
        raise PlatformError(f"{host} returned no account: is it a Mastodon server?", TRY_LATER)
    if profile.get("suspended") is True:
        raise InputError(f"{user}@{host} is suspended", f"Its posts cannot be read there. {OWN_EXPORT}")
    if moved := untrusted_json.message_text(untrusted_json.record(profile.get("moved")).get("acct")):
        notify(f"{user}@{host} has moved to {moved}: name that account as another source to include its posts", "warning")
    author = author_name(f"{untrusted_json.text(profile.get('username')) or user}@{host}")
    return Content(
        kind=SOURCE,
        basis="",
        size=0,
        posts=lambda _: _posts(web, client, identity, author),
        author=author,
        display_name=untrusted_json.text(profile.get("display_name")),
        bio=html_text(untrusted_json.text(profile.get("note")))[0],
        avatar=web.picture(profile.get("avatar_static") or profile.get("avatar")),
    )


def _handle(account: str) -> tuple[str, str]:
    """Split USER@HOST. Raises InputError for anything else, such as a login, a path, or an IP address."""
    user, at, host = account.removeprefix("@").rpartition("@")
    name, colon, port = host.lower().partition(":")
    try:
        name = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        name = ""
    is_valid_port = not colon or (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536)
    if not at or not USER.fullmatch(user) or not HOST.fullmatch(name) or name.endswith(LOCAL_HOSTS) or not is_valid_port:
        fix = "Write mastodon://USER@HOST, such as mastodon://wren@mastodon.social."
        raise InputError(f"{printable(account)[:80]!r} is not a Mastodon account", fix)
    return user, name + colon + port


def _client(web: BoundedSession) -> "Mastodon":
    from mastodon import Mastodon

    return Mastodon(api_base_url=web.base, session=web, ratelimit_method="throw", version_check_mode="none")


def _call(web: BoundedSession, call: Callable[[], T]) -> T:
    """Call a method of Mastodon.py; raise its errors, and those that it wraps, as MynahError."""
    from mastodon import MastodonError

    try:
        return call()
    except MastodonError as error:
        if isinstance(error.__context__, MynahError):
            raise error.__context__ from None
        raise PlatformError(
            f"{web.name} returned a response that Mastodon.py cannot parse ({untrusted_json.message_text(str(error))})", TRY_LATER
        ) from error


def _posts(web: BoundedSession, client: "Mastodon", identity: str, author: str) -> Iterator[Post]:
    skipped, pages = SkippedPosts(f"mastodon://{author}"), PageReader(web.name, author, TRY_LATER)
    page = _call(web, lambda: client.account_statuses(identity, limit=PAGE))
    while page is not None:
        if not isinstance(page, list) or (page and not untrusted_json.records(page)):
            raise PlatformError(f"{web.name}'s response contains no posts", TRY_LATER)
        for status in pages.fresh(untrusted_json.records(page), lambda item: str(item.get("id"))):
            post = _post(status, identity, author)
            if post:
                yield post
            elif status.get("visibility") in PUBLIC_VISIBILITIES:
                skipped.add(str(status.get("id") or ""), "it has no id or no text, or its text is too long")
        page = _call(web, lambda page=page: client.fetch_next(page))  # type: ignore[misc]  # mypy cannot infer a lambda's default
    skipped.warn()


def _post(status: dict[str, Any], identity: str, author: str) -> Post | None:
    """Convert a status in its current, edited state to a Post; None for one that is not public or cannot be used.

    https://docs.joinmastodon.org/entities/Status/
    """
    boosted = untrusted_json.record(status.get("reblog"))
    content = boosted.get("content") if boosted else status.get("content")
    if not status.get("id") or not is_readable(content) or status.get("visibility") not in PUBLIC_VISIBILITIES:
        return None
    text, entities = html_text(untrusted_json.text(content))
    reply_to = _identity(status.get("in_reply_to_id"))
    quotes = status.get("quote") or status.get("quote_id")
    return Post(
        id=_identity(status["id"]),
        author=author,
        text=text,
        created_at=untrusted_json.parse_time(status.get("created_at")),
        kind=Kind.REPOST if boosted else Kind.REPLY if reply_to else Kind.QUOTE if quotes else Kind.ORIGINAL,
        language=untrusted_json.text((boosted or status).get("language")),
        source=SOURCE,
        entities=entities,
        reply_to=reply_to,
        reply_to_self=bool(reply_to) and str(status.get("in_reply_to_account_id")) == identity,
        client=untrusted_json.text(untrusted_json.record(status.get("application")).get("name")),
        edited_at=untrusted_json.parse_time(status.get("edited_at")),
    )


def _identity(value: object) -> str:
    """Return a status's id: a number in text at Mastodon, any word at compatible servers."""
    return printable(str(value or ""))[:200]


def _refusal(user: str, host: str) -> ErrorOfResponse:
    """Return a function that converts Mastodon's error responses to exceptions.

    https://docs.joinmastodon.org/api/guidelines/, and each server's own rules.
    """

    def refusal(status: int, response: dict[str, Any]) -> MynahError | None:
        if status == 429:
            return None
        message = untrusted_json.message_text(response.get("error"))
        if status in (401, 403, 422):
            return InputError(f"{host} shows nothing of {user} without a login ({status}: {message or 'no reason'})", OWN_EXPORT)
        if status == 404:
            fix = "Check the handle; where the server's name differs from its handles' (social.example.org), use the server's."
            return InputError(f"{host} has no account {user}", fix)
        if status == 410:
            return InputError(f"the account {user} on {host} was deleted", OWN_EXPORT)
        return PlatformError(f"{host} refuses the request ({status}: {message or 'no reason'})", TRY_LATER)

    return refusal
