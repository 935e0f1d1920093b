"""Read an account's posts through the X API (`x://handle`): up to 3,200 posts, for money, once the price was agreed to.

Uses tweepy: GET /2/users/by/username/:username, then /2/users/:id/tweets, newest first, up to 100 a page. Replies are never excluded:
that would lower the 3,200 to 800. https://docs.x.com/x-api/posts/timelines/introduction

Only functions import tweepy, which is of the extra `sources` and takes 0.2 s to import.
"""

import itertools
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.fetch import untrusted_json
from components.fetch.http.retry import RetryPolicy
from components.fetch.http.session import BoundedSession, ErrorOfResponse
from components.fetch.skipped_posts import SkippedPosts
from components.fetch.sources import Content
from components.fetch.x.api_pages import PageCache
from components.fetch.x.api_posts import SOURCE, TWEET_FIELDS, is_superseded, is_usable, post_of
from components.fetch.x.api_price import ARCHIVE, MAX_POSTS, PRICE_PER_ACCOUNT, Budget, SpendingLimit, require_price_agreement
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.names import author_name
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_X_API, X_BEARER_TOKEN
from mynah.data.posts import Post

if TYPE_CHECKING:
    import tweepy

MAX_PAGES = 1000  # a timeline has 640 pages of five posts
HANDLE = re.compile(r"[A-Za-z0-9_]{1,15}")
TWEEPYS_ADDRESS = "https://api.twitter.com"
USER_FIELDS = ["description", "name", "profile_image_url", "protected", "username"]
CONSOLE = "https://console.x.com"
RUN_AGAIN = "Run the same command again later: the pages that were paid for are kept for a day."


def open_timeline(handle: str, limit: int, budget: Budget, retry_policy: RetryPolicy | None = None) -> Content:
    """Open an account's timeline. The token is read from X_BEARER_TOKEN.

    Args:
        handle: The account's handle.
        limit: The newest posts to read; 0 for all that X provides.
        budget: What a person agreed to pay.
        retry_policy: How to retry; by default RetryPolicy().

    Returns:
        The posts, newest first, with reposts and replies marked.

    Raises:
        InputError: The handle or token is invalid, nobody agreed to the price, or the account is unknown, protected or suspended.
        PlatformError: A rate limit, spent credits, or a network failure.
    """
    name = _handle(handle)
    max_posts = min(limit or MAX_POSTS, MAX_POSTS)
    spending_limit = require_price_agreement(name, max_posts, budget)
    token, address, policy = _token(), MYNAH_X_API.get(), retry_policy or RetryPolicy()
    web = BoundedSession(address, "X", _refusal(name, token), RUN_AGAIN, policy, stands_for=TWEEPYS_ADDRESS)
    client = _client(web, token)
    pages = PageCache(name)
    with pages.locked():
        if not pages.account:
            pages.begin(_account(client, name))
            spending_limit.pay(PRICE_PER_ACCOUNT)
    account = pages.account
    return Content(
        kind=SOURCE,
        basis="",
        size=0,
        posts=lambda _: _posts(client, pages, account, spending_limit, max_posts),
        author=author_name(account["username"]),
        display_name=untrusted_json.text(account.get("name")),
        bio=untrusted_json.text(account.get("description")),
        avatar=web.picture(untrusted_json.text(account.get("profile_image_url")).replace("_normal.", "_400x400.")),
    )


def _handle(text: str) -> str:
    name = text.removeprefix("@")
    if not HANDLE.fullmatch(name):
        raise InputError(
            f"{text[:80]!r} is not an X handle", "Write x://HANDLE: up to 15 letters of a-z, digits and underscores."
        )
    return name


def _token() -> str:
    token = X_BEARER_TOKEN.get().strip()
    if not token:
        raise InputError("X_BEARER_TOKEN is not set, and X requires a token", f"Set it to your app's Bearer Token ({CONSOLE}).")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise InputError("X_BEARER_TOKEN contains characters that no token has", f"Copy it again from {CONSOLE}.")
    return token


def _client(web: BoundedSession, token: str) -> "tweepy.Client":
    import tweepy

    logging.getLogger("tweepy").setLevel(logging.WARNING)  # at DEBUG level it logs the token
    client = tweepy.Client(bearer_token=token, return_type=dict, wait_on_rate_limit=False)
    client.session = web
    return client


def _account(client: "tweepy.Client", name: str) -> dict[str, Any]:
    """Look up the account. Raises InputError when it does not exist or is not public."""
    response = untrusted_json.record(client.get_user(username=name, user_fields=USER_FIELDS))
    account = untrusted_json.record(response.get("data"))
    if not account:
        raise _problem(name, response, client.bearer_token)
    if account.get("protected") is True:
        raise _protected(name)
    identity, username = untrusted_json.text(account.get("id")), untrusted_json.text(account.get("username"))
    if not re.fullmatch(r"[0-9]{1,20}", identity) or not HANDLE.fullmatch(username):
        raise PlatformError(f"X's response contains no account for @{name}", RUN_AGAIN)
    return account


def _posts(
    client: "tweepy.Client", pages: PageCache, account: dict[str, Any], spending_limit: SpendingLimit, max_posts: int
) -> Iterator[Post]:
    """Yield posts newest first without duplicates: cached ones of an interrupted fetch, then the rest, page by page.

    Args:
        client: The client.
        pages: The cache of the account's pages.
        account: X's user object.
        spending_limit: What may be spent.
        max_posts: How many posts to yield at most.

    Yields:
        The posts.
    """
    with pages.locked():
        if not pages.account:  # another fetch of it has finished since the lookup, or it was forgotten
            pages.begin(account)
        author, skipped, seen = (
            author_name(account["username"]),
            SkippedPosts(f"x://{account['username']}"),
            set[str](),
        )
        for tweet in itertools.chain.from_iterable(_pages(client, pages, spending_limit, max_posts)):
            if not is_usable(tweet):
                skipped.add(untrusted_json.text(tweet.get("id")), "it has no id or no text")
            elif tweet["id"] not in seen and not is_superseded(tweet) and len(seen) < max_posts:
                seen.add(tweet["id"])
                yield post_of(tweet, author, account["id"])
        skipped.warn()


def _pages(
    client: "tweepy.Client", pages: PageCache, spending_limit: SpendingLimit, max_posts: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the timeline's pages, and cache them on disk.

    The cache is marked as complete at the end, but not where the cost limit stops the fetch early: a later run may continue.

    Args:
        client: The client.
        pages: The cache of the account's pages.
        spending_limit: What may be spent.
        max_posts: How many posts to request at most.

    Yields:
        X's tweet objects, a list per page.
    """
    name, kept = pages.account["username"], len(pages.posts)
    if kept:
        notify(f"{kept:,} posts of @{name} are cached from an interrupted fetch, and not paid for again")
        yield list(pages.posts)
    # A page token expires after an unknown time, an id never does.
    until = min((tweet["id"] for tweet in pages.posts if is_usable(tweet)), key=int, default=None)
    token, seen = None, set[str]()
    while len(pages.posts) < max_posts:
        size = spending_limit.posts(max_posts - len(pages.posts))
        if not size:
            _warn_of_limit(pages, spending_limit)
            return
        page, meta = _request_page(client, pages.account, {"max_results": size, "pagination_token": token, "until_id": until})
        spending_limit.pay(len(page) * spending_limit.price)
        pages.add(page)
        yield page
        token = untrusted_json.text(meta.get("next_token"))
        if not token:
            break
        if token in seen or len(seen) == MAX_PAGES:
            raise PlatformError(f"X's pages of @{name} have no end", RUN_AGAIN)
        seen.add(token)
    notify(f"posts of @{name}: {len(pages.posts):,}, about ${spending_limit.spent:,.3f} spent")
    if kept <= max_posts:  # else the cache belongs to a larger fetch, which may still be resumed
        pages.finish()


def _request_page(
    client: "tweepy.Client", account: dict[str, Any], parameters: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Request a page of an account's timeline, and return its tweets and its metadata. Raises MynahError for a response without both."""
    response = untrusted_json.record(client.get_users_tweets(account["id"], tweet_fields=TWEET_FIELDS, **parameters))
    page, meta = untrusted_json.records(response.get("data")), untrusted_json.record(response.get("meta"))
    if not page and not meta:
        raise _problem(account["username"], response, client.bearer_token)
    return page, meta


def _warn_of_limit(pages: PageCache, spending_limit: SpendingLimit) -> None:
    notify(
        f"the cost limit of ${spending_limit.max_cost:,.2f} is reached: {len(pages.posts):,} posts of @{pages.account['username']}, "
        f"${spending_limit.spent:,.3f} spent. They are kept for a day: run again with a higher --max-cost to continue.",
        "warning",
    )


def _refusal(name: str, token: str) -> ErrorOfResponse:
    """Return a function that converts X's error responses to exceptions.

    https://docs.x.com/x-api/fundamentals/response-codes-and-errors
    """

    def refusal(status: int, response: dict[str, Any]) -> MynahError | None:
        detail, kind = _detail(response, token), _kind(response)
        if status == 429:
            capped = PlatformError(f"the app's usage cap at X is reached: {detail}", f"See {CONSOLE}. {RUN_AGAIN}")
            return capped if kind == "usage-capped" else None  # a rate limit resets soon, a cap does not
        if status == 401:
            return InputError("X rejects the token in X_BEARER_TOKEN", f"Copy the app's Bearer Token again from {CONSOLE}.")
        if status == 402:
            return PlatformError(f"the credits for X's API are spent: {detail}", f"Buy some at {CONSOLE}. {RUN_AGAIN}")
        if status == 403 and kind != "not-authorized-for-resource":
            return InputError(f"X denies the token's app this request: {detail}", f"Give the app access to API v2 at {CONSOLE}.")
        return _problem(name, {"errors": [{"detail": detail, "type": response.get("type"), "status": status}]}, token)

    return refusal


def _problem(name: str, response: dict[str, Any], token: str) -> MynahError:
    """Convert a response without data to an exception. X reports most accounts that cannot be read with status 200."""
    [error, *_] = untrusted_json.records(response.get("errors")) or [{}]
    detail, kind = _detail(error, token), _kind(error)
    if "suspended" in detail.lower():
        return InputError(f"@{name} is suspended on X", f"Its posts cannot be read there. {ARCHIVE}")
    if kind == "not-authorized-for-resource":
        return _protected(name)
    if kind == "resource-not-found" or error.get("status") == 404:
        return InputError(f"X has no account @{name}", "Check the handle; it may have been changed or deleted.")
    return PlatformError(f"X returned neither posts of @{name} nor a known error: {detail or 'nothing'}", RUN_AGAIN)


def _protected(name: str) -> InputError:
    return InputError(f"the posts of @{name} are protected", f"Only approved followers may read them. {ARCHIVE}")


def _detail(error: dict[str, Any], token: str) -> str:
    """Return X's own message, on one line. The token is removed before truncation: a truncated one would not be found."""
    inner = next((untrusted_json.text(item.get("message")) for item in untrusted_json.records(error.get("errors"))), "")
    message = f"{untrusted_json.text(error.get('detail')) or untrusted_json.text(error.get('title'))} {inner}"
    return " ".join(message.replace(token, "…").split())[:200]


def _kind(error: dict[str, Any]) -> str:
    """Return the last part of a problem's type: https://api.x.com/2/problems/resource-not-found."""
    return untrusted_json.text(error.get("type")).rpartition("/")[2]
