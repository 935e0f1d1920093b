"""The X API: `x://handle`, up to 3,200 posts of an account, for money. Off until the price was seen and agreed to.

By tweepy. GET /2/users/by/username/:username, then /2/users/:id/tweets, newest first, up to 100 a page. Replies are never excluded:
that would lower the 3,200 to 800. https://docs.x.com/x-api/posts/timelines/introduction
"""

import itertools
import logging
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.errors import InputError, MynahError, PlatformError
from components.events import say
from components.fetch import shapes
from components.fetch.patience import Patience
from components.fetch.sources import Content
from components.fetch.web import Refusal, Web
from components.fetch.x_pages import Pages
from components.fetch.x_posts import SOURCE, TWEET_FIELDS, is_superseded, is_usable, post_of
from components.fetch.x_price import ARCHIVE, PRICE_PER_ACCOUNT, Purse, agreed
from components.fetch.x_price import MOST_POSTS as MOST_POSTS
from components.fetch.x_price import Spend as Spend
from components.names import author_name
from components.posts import Post

if TYPE_CHECKING:
    import tweepy

MOST_PAGES = 1000  # of five posts each, a timeline has 640
HANDLE = re.compile(r"[A-Za-z0-9_]{1,15}")
ADDRESS, TWEEPYS_ADDRESS = "https://api.x.com", "https://api.twitter.com"
USER_FIELDS = ["description", "name", "profile_image_url", "protected", "username"]
CONSOLE = "https://console.x.com"
AGAIN = "Run the same command again later: the pages that were paid for are kept for a day."


def open_timeline(handle: str, limit: int, spend: Spend, patience: Patience | None = None) -> Content:
    """The newest `limit` posts of @handle (0: all that X gives out). The token is read from X_BEARER_TOKEN.

    Raises InputError for a bad handle or token, where nobody agreed to the price, and for an account that is unknown, protected or
    suspended; PlatformError for limits, spent credits and the network.
    """
    name = _handle(handle)
    most = min(limit or MOST_POSTS, MOST_POSTS)
    purse = agreed(name, most, spend)
    token = _token()
    address = os.environ.get("MYNAH_X_API") or ADDRESS
    web = Web(address, "X", _refusal(name, token), AGAIN, patience or Patience(), stands_for=TWEEPYS_ADDRESS)
    client = _client(web, token)
    pages = Pages(name)
    with pages.locked():
        if not pages.account:
            pages.begin(_account(client, name))
            purse.pay(PRICE_PER_ACCOUNT)
    account = pages.account
    return Content(
        kind=SOURCE,
        basis="",
        size=0,
        posts=lambda _: _posts(client, pages, account, purse, most),
        author=author_name(account["username"]),
        display_name=shapes.text(account.get("name")),
        bio=shapes.text(account.get("description")),
        avatar=web.picture(shapes.text(account.get("profile_image_url")).replace("_normal.", "_400x400.")),
    )


def _handle(text: str) -> str:
    name = text.removeprefix("@")
    if not HANDLE.fullmatch(name):
        raise InputError(f"{text[:80]!r} is no handle of X", "Write x://HANDLE: up to 15 letters of a-z, digits and underscores.")
    return name


def _token() -> str:
    token = os.environ.get("X_BEARER_TOKEN", "").strip()
    if not token:
        raise InputError("X_BEARER_TOKEN is not set, and X asks for a token", f"Set it to your app's Bearer Token ({CONSOLE}).")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise InputError("X_BEARER_TOKEN holds characters that no token has", f"Copy it anew from {CONSOLE}.")
    return token


def _client(web: Web, token: str) -> "tweepy.Client":
    import tweepy

    logging.getLogger("tweepy").setLevel(logging.WARNING)  # at DEBUG it writes the token
    client = tweepy.Client(bearer_token=token, return_type=dict, wait_on_rate_limit=False)
    client.session = web
    return client


def _account(client: "tweepy.Client", name: str) -> dict[str, Any]:
    """The account as X gives it. Raises InputError when there is none, or none that everybody may read."""
    answer = shapes.record(client.get_user(username=name, user_fields=USER_FIELDS))
    account = shapes.record(answer.get("data"))
    if not account:
        raise _problem(name, answer, client.bearer_token)
    if account.get("protected") is True:
        raise _protected(name)
    identity, username = shapes.text(account.get("id")), shapes.text(account.get("username"))
    if not re.fullmatch(r"[0-9]{1,20}", identity) or not HANDLE.fullmatch(username):
        raise PlatformError(f"X's answer names no account for @{name}", AGAIN)
    return account


def _posts(client: "tweepy.Client", pages: Pages, account: dict[str, Any], purse: Purse, most: int) -> Iterator[Post]:
    """Posts newest first, each once: those that are kept from a fetch that was cut off, then the rest, page by page."""
    with pages.locked():
        if not pages.account:  # since it was looked up, another fetch of it came to its end, or it was forgotten
            pages.begin(account)
        author, left_out, seen = author_name(account["username"]), shapes.LeftOut(f"x://{account['username']}"), set[str]()
        for tweet in itertools.chain.from_iterable(_pages(client, pages, purse, most)):
            if not is_usable(tweet):
                left_out.add(shapes.text(tweet.get("id")), "it has no id or no text")
            elif tweet["id"] not in seen and not is_superseded(tweet) and len(seen) < most:
                seen.add(tweet["id"])
                yield post_of(tweet, author, account["id"])
        left_out.tell()


def _pages(client: "tweepy.Client", pages: Pages, purse: Purse, most: int) -> Iterator[list[dict[str, Any]]]:
    """The timeline as X gives it. Kept on disk, marked as complete or not: also where the cap ends it, since a later run may go on."""
    name, kept = pages.account["username"], len(pages.posts)
    if kept:
        say(f"{kept:,} posts of @{name} are kept from a fetch that was cut off, and not paid for again")
        yield list(pages.posts)
    # The mark of a page is good for an unknown time, an id for ever.
    until = min((tweet["id"] for tweet in pages.posts if is_usable(tweet)), key=int, default=None)
    token, seen = None, set[str]()
    while len(pages.posts) < most:
        size = purse.posts(most - len(pages.posts))
        if not size:
            say(
                f"the cap of ${purse.cap:,.2f} is reached: {len(pages.posts):,} posts of @{name}, ${purse.spent:,.3f} spent. "
                "They are kept for a day: run again with another --max-cost to go on.",
                "warning",
            )
            return
        answer = shapes.record(
            client.get_users_tweets(
                pages.account["id"], max_results=size, pagination_token=token, until_id=until, tweet_fields=TWEET_FIELDS
            )
        )
        page, meta = shapes.records(answer.get("data")), shapes.record(answer.get("meta"))
        if not page and not meta:
            raise _problem(name, answer, client.bearer_token)
        purse.pay(len(page) * purse.price)
        pages.add(page)
        yield page
        token = shapes.text(meta.get("next_token"))
        if not token:
            break
        if token in seen or len(seen) == MOST_PAGES:
            raise PlatformError(f"X's pages of @{name} have no end", AGAIN)
        seen.add(token)
    say(f"posts of @{name}: {len(pages.posts):,}, about ${purse.spent:,.3f} spent")
    if kept <= most:  # else they are of a fetch that wants more, which is still to be run again
        pages.finish()


def _refusal(name: str, token: str) -> Refusal:
    """What X's refusals mean; https://docs.x.com/x-api/fundamentals/response-codes-and-errors."""

    def refusal(status: int, answer: dict[str, Any]) -> MynahError | None:
        detail, kind = _detail(answer, token), _kind(answer)
        if status == 429:
            capped = PlatformError(f"the app's cap is reached at X: {detail}", f"See {CONSOLE}. {AGAIN}")
            return capped if kind == "usage-capped" else None  # a limit passes, a cap does not
        if status == 401:
            return InputError("X does not take the token in X_BEARER_TOKEN", f"Copy the app's Bearer Token anew from {CONSOLE}.")
        if status == 402:
            return PlatformError(f"the credits for X's API are spent: {detail}", f"Buy some at {CONSOLE}. {AGAIN}")
        if status == 403 and kind != "not-authorized-for-resource":
            return InputError(f"X refuses this to the token's app: {detail}", f"Give the app access to API v2 at {CONSOLE}.")
        return _problem(name, {"errors": [{"detail": detail, "type": answer.get("type"), "status": status}]}, token)

    return refusal


def _problem(name: str, answer: dict[str, Any], token: str) -> MynahError:
    """What an answer without data says. X tells of most accounts that cannot be read with status 200."""
    [error, *_] = shapes.records(answer.get("errors")) or [{}]
    detail, kind = _detail(error, token), _kind(error)
    if "suspended" in detail.lower():
        return InputError(f"@{name} is suspended on X", f"Its posts cannot be had there. {ARCHIVE}")
    if kind == "not-authorized-for-resource":
        return _protected(name)
    if kind == "resource-not-found" or error.get("status") == 404:
        return InputError(f"there is no account @{name} on X", "Check the handle; it may have been changed or deleted.")
    return PlatformError(f"X gave neither posts of @{name} nor a reason that is known: {detail or 'nothing'}", AGAIN)


def _protected(name: str) -> InputError:
    return InputError(f"the posts of @{name} are protected", f"Only those whom they let follow may read them. {ARCHIVE}")


def _detail(error: dict[str, Any], token: str) -> str:
    """X's own words, on one line. The token goes before the end does: a cut one would not be found."""
    inner = next((shapes.text(each.get("message")) for each in shapes.records(error.get("errors"))), "")
    words = f"{shapes.text(error.get('detail')) or shapes.text(error.get('title'))} {inner}"
    return " ".join(words.replace(token, "…").split())[:200]


def _kind(error: dict[str, Any]) -> str:
    """The last part of a problem's type: https://api.x.com/2/problems/resource-not-found."""
    return shapes.text(error.get("type")).rpartition("/")[2]
