"""Whether a row is an original post, a reply, a quote or a repost, by what its columns say."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from components.fetch import untrusted_json
from components.fetch.skipped_posts import WholeFileError
from components.fetch.tables.column_names import Role
from components.fetch.tables.values import mark, says_nothing, shown, typed
from components.fetch.x.export_tweets import is_status_link
from mynah.core.errors import InputError
from mynah.data.posts import Kind

Fields = Mapping[Role, Sequence[tuple[str, Any]]]  # the columns of a row with their values, by what they hold

WORDS = {
    "retweet": Kind.REPOST, "retweeted": Kind.REPOST, "rt": Kind.REPOST, "repost": Kind.REPOST, "reblog": Kind.REPOST, "boost": Kind.REPOST,
    "reply": Kind.REPLY, "repliedto": Kind.REPLY, "quote": Kind.QUOTE, "quoted": Kind.QUOTE, "quotetweet": Kind.QUOTE,
}  # fmt: skip
REFERENCE = re.compile(r"\b(retweeted|quoted|replied_to)\b")  # in a list that was written as text: JSON, or Python's


def kind_of(fields: Fields, text: str, place: str) -> Kind:
    """Return the kind of a row's post.

    Args:
        fields: The row.
        text: The post's text.
        place: File and line, for messages.

    Returns:
        The kind.

    Raises:
        InputError: The column `kind` is none of the four.
        WholeFileError: A mark of reposts is neither true nor false.
    """
    if is_repost(fields, place):
        return Kind.REPOST
    if stated := _stated(fields, place):
        return stated
    if text.startswith("RT @"):
        return Kind.REPOST
    named = _named(fields)
    if named is Kind.REPOST:
        return Kind.REPOST
    if any(not says_nothing(value) for role in (Role.REPLY_TO, Role.ANSWERED) for _, value in fields.get(role, ())):
        return Kind.REPLY
    is_quote = any(not says_nothing(value) for _, value in fields.get(Role.QUOTED, ()))
    return named or (Kind.QUOTE if is_quote else Kind.ORIGINAL)


def tweet_kind(row: Mapping[str, Any]) -> Kind:
    """Return the kind of a row of X's own tweets.csv."""
    if row.get("retweeted_status_id") or row["text"].startswith("RT @"):
        return Kind.REPOST
    if row.get("in_reply_to_status_id") or row.get("in_reply_to_user_id"):
        return Kind.REPLY
    links = (row.get("expanded_urls") or "").split(",")
    return Kind.QUOTE if any(is_status_link(link.strip()) for link in links) else Kind.ORIGINAL


def referenced(fields: Fields, reference: str) -> object:
    """Return the id of the post that a row refers to in a list of API 2, such as replied_to; None for none."""
    for _, value in fields.get(Role.REFERENCES, ()):
        for each in untrusted_json.records(value):
            if each.get("type") == reference:
                return each.get("id")
    return None


def is_repost(fields: Fields, place: str) -> bool:
    """Return whether a column says that a row is a repost. Raises WholeFileError for a mark that is neither true nor false."""
    if any(not says_nothing(value) for _, value in fields.get(Role.REPOSTED, ())):
        return True
    for name, value in fields.get(Role.REPOST, ()):
        is_marked = mark(value)
        if is_marked is None:
            raise WholeFileError(
                f"{place}: the column {name!r} is {shown(value)!r}, neither true nor false",
                "Write true where the row is a repost; if the column counts reposts, call it retweet_count.",
            )
        if is_marked:
            return True
    return "retweeted" in _references(fields)


def _stated(fields: Fields, place: str) -> Kind | None:
    for _, value in fields.get(Role.KIND, ()):
        if value in (None, ""):
            continue
        try:
            return Kind(typed(value, str, "kind", place).strip().lower())
        except ValueError as error:
            problem = f"{place}: kind {shown(value)!r} is not one of {', '.join(Kind)}"
            raise InputError(problem, "Write one of these, or leave it empty.") from error
    return None


def _named(fields: Fields) -> Kind | None:
    """Return the kind that a column such as tweet_type names, or a reference of API 2."""
    for _, value in fields.get(Role.TYPE, ()):
        if isinstance(value, str) and (kind := WORDS.get(re.sub(r"[\W_]+", "", value[:40]).casefold())):
            return kind
    found = _references(fields)
    return next((WORDS[key.replace("_", "")] for key in ("retweeted", "replied_to", "quoted") if key in found), None)


def _references(fields: Fields) -> set[str]:
    found: set[str] = set()
    for _, value in fields.get(Role.REFERENCES, ()):
        found |= {untrusted_json.text(each.get("type")) for each in untrusted_json.records(value)}
        if isinstance(value, str):
            found |= {*REFERENCE.findall(value[:10_000])}
    return found
