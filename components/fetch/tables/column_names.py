"""What the columns of a table mean, by the names that people and other programs give them, whatever their case and separators.

The names are those of Twitter's API 1.1 and 2, and of the tables that twarc, TAGS, rtweet, twint, snscrape, ntscraper, Social Feed Manager
and Vicinitas write. `Screen Name`, `screen_name`, `screenName` and `user.screen_name` of a nested object have the same key.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

MAX_NAME_CHARACTERS = 200
MAX_DEPTH = 3  # of nested objects


class Role(StrEnum):
    """What a column holds."""

    TEXT = "text"
    ID = "id"
    AUTHOR = "author"
    TIME = "time"
    KIND = "kind"  # original, reply, quote or repost, and nothing else
    TYPE = "type"  # the same by other words, among others
    REPOST = "repost mark"  # true or false, or 1 or 0
    REPOSTED = "reposted post"  # an id or whatever else describes it; empty where the row is no repost
    QUOTED = "quoted post"
    REPLY_TO = "answered post"
    ANSWERED = "answered person"
    REFERENCES = "references"  # of API 2: a list of {type, id}
    TRUNCATED = "truncated"
    LANGUAGE = "language"
    CLIENT = "client"
    LINK = "link"  # the post's own address
    OTHER = "other"


# By key (see `key_of`); of several columns of a row, the first one that has a value counts.
NAMES: dict[Role, tuple[str, ...]] = {
    Role.TEXT: ("extendedtweetfulltext", "notetweettext", "fulltext", "text", "rawcontent", "tweettext", "posttext", "tweet"),
    Role.ID: ("idstr", "id", "tweetid", "tweetidstr", "statusid", "statusidstr", "postid"),
    Role.AUTHOR: (
        "author", "screenname", "userscreenname", "authorscreenname", "userusername", "authorusername", "username", "fromuser",
        "authorhandle", "userhandle", "handle", "twitterhandle", "twitterusername", "accountacct", "accountusername", "accounthandle",
        "accountscreenname", "fromusername", "fromscreenname", "tweetauthor", "postauthor", "tweetuserscreenname", "tweetuserusername",
        "postedby", "tweetedby", "user", "account", "authorname", "accountname",
    ),
    Role.TIME: (
        "createdat", "timestamp", "date", "datetime", "createdatutc", "createdutc", "timestampms", "tweetcreatedat", "postedat",
        "publishedat", "published", "tweetdate", "postdate", "datecreated", "creationdate", "createddate", "datepublished", "dateposted",
        "postedtime", "tweettime", "posttime", "createdtime", "creationtime", "timestamputc", "dateutc", "datetimeutc", "utc", "time",
    ),
    Role.KIND: ("kind",),
    Role.TYPE: ("tweettype", "posttype", "statustype", "type"),
    Role.REPOST: (
        "retweet", "isretweet", "retweeted", "isretweeted", "isrt", "rt", "repost", "isrepost", "reposted", "reblog", "isreblog",
        "reblogged", "boost", "isboost", "boosted",
    ),
    Role.REPOSTED: (
        "retweetid", "retweetstatusid", "retweetscreenname", "retweetusername", "retweetuserid", "retweetdate", "userrt", "userrtid",
        "retweetedfrom", "retweetedscreenname", "retweetedusername", "retweeteduser", "retweetedid",
    ),
    Role.QUOTED: ("isquote", "isquotestatus", "isquoted", "isquotetweet", "quotestatusid", "quoteurl", "quoteid"),
    Role.REPLY_TO: (
        "replyto", "inreplytostatusidstr", "inreplytostatusid", "inreplytoid", "inreplytotweetid", "replytostatusid", "replytotweetid",
        "referencedtweetsrepliedtoid",
    ),
    Role.ANSWERED: (
        "inreplytouseridstr", "inreplytouserid", "inreplytoscreenname", "inreplytousername", "inreplytouser", "replytouserid",
        "replytoscreenname", "replytouser", "isreply", "inreplytoaccountid",
    ),
    Role.REFERENCES: ("referencedtweets",),
    Role.TRUNCATED: ("truncated", "istruncated"),
    Role.LANGUAGE: ("language", "lang"),
    Role.CLIENT: ("client", "source", "sourcelabel"),
    Role.LINK: ("link", "permalink", "tweeturl", "tweetlink", "statusurl", "statuslink", "posturl", "postlink", "tweetpermalink", "url"),
}  # fmt: skip
# Whatever describes the shared or quoted post, such as retweeted_status.user.screen_name in a flattened table.
PREFIXES = {
    "retweetedstatus": Role.REPOSTED, "retweetedtweet": Role.REPOSTED, "retweetof": Role.REPOSTED, "repostof": Role.REPOSTED,
    "reblogof": Role.REPOSTED, "referencedtweetsretweeted": Role.REPOSTED, "quotedstatus": Role.QUOTED, "quotedtweet": Role.QUOTED,
    "referencedtweetsquoted": Role.QUOTED,
}  # fmt: skip
RANKS = {name: (role, rank) for role, names in NAMES.items() for rank, name in enumerate(names)}
DISPLAY_NAME = re.compile(r"^(?:tweet[./])?user[./:\[]+name\]?$")  # of API 1.1, beside user.screen_name; `user_name` is a handle
LAST_RANK = 1000
WHOLE = (Role.REPOSTED, Role.QUOTED, Role.REPLY_TO)  # an object of another post says that there is one, whatever is in it

AUTHOR_WORDS = {
    "author", "user", "username", "handle", "account", "creator", "poster", "sender", "from", "by", "owner", "nick", "nickname",
    "login", "writer", "tweeter", "autor", "autorin", "auteur", "benutzer", "benutzername", "nutzer", "usuario", "utilisateur",
    "verfasser", "speaker", "member", "profile", "person", "blogger",
}  # fmt: skip
NAME_WORDS = {
    "name", "screen", "display", "full", "real", "first", "last", "twitter", "x", "tweet", "post", "id", "str", "posted",
    "created", "written", "published", "tweeted", "sent",
}  # fmt: skip
ID_WORDS = {"id", "ids", "uuid", "guid", "identifier"}
POST_WORDS = {
    "tweet", "post", "status", "message", "item", "comment", "toot", "note", "x", "twitter", "unique", "str", "entry", "object",
}  # fmt: skip
TIME_WORDS = {
    "time", "date", "datetime", "timestamp", "created", "posted", "published", "when", "day", "utc", "epoch", "datum", "zeit",
    "fecha", "heure", "zeitpunkt", "stamp",
}  # fmt: skip
GLUED = AUTHOR_WORDS | POST_WORDS  # userid, messageid
GLUED_TIME = re.compile(
    r"(?:created|posted|published|tweeted|sent)(?:at|on|time|date|utc)|(?:date|time)(?:posted|created|sent|published|utc)"
)
OTHER_TIMES = {
    "user", "account", "collected", "scraped", "retrieved", "fetched", "updated", "edited", "modified", "downloaded", "zone",
}  # fmt: skip
REPOST_WORDS = re.compile(r"retweet|repost|reblog|boost|(?:^|[\W_])(?:is)?rt(?:$|[\W_])")
COUNT = re.compile(r"counts?\b|numbers?\b|retweets\b|reposts\b|boosts\b|reblogs\b|retweeters\b|\b(?:num|nr|n|total)\b")
OTHER_PEOPLE = re.compile(
    r"reply|replied|retweet|repost|reblog|quot|mention|\bto\b|answer|recipient|receiver|follow|friend|\blist"
)
DETAILS = {
    "count", "description", "url", "location", "verified", "lang", "language", "image", "created", "at", "followers",
    "protected",
}  # fmt: skip
SAID = {Role.AUTHOR: "its author", Role.ID: "its id", Role.TIME: "its time", Role.REPOST: "a mark of reposts"}


@functools.lru_cache(maxsize=8192)
def key_of(name: str) -> str:
    """Return the letters and digits of a column's name, in lower case."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name[:MAX_NAME_CHARACTERS]).casefold())


@functools.lru_cache(maxsize=8192)
def role_of(name: str) -> tuple[Role, int]:
    """Return what a column holds, by its name, and its rank among the columns that hold the same."""
    key = key_of(name)
    if DISPLAY_NAME.search(name.casefold()):
        return Role.AUTHOR, LAST_RANK
    if name == "_id":  # MongoDB's own, beside that of the post
        return Role.ID, LAST_RANK
    if key in RANKS:
        return RANKS[key]
    prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
    return (PREFIXES[prefix], len(key)) if prefix and not key.endswith("count") else (Role.OTHER, 0)


@functools.lru_cache(maxsize=8192)
def resemblance(name: str) -> Role | None:
    """Return what a column that is not read may hold (author, id, time or a repost mark), by the words of its name."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name[:MAX_NAME_CHARACTERS])
    plain = re.sub(r"[\W_]+", " ", spaced).casefold().strip()
    words = [
        part for word in plain.split() for part in ((word[:-2], "id") if word.endswith("id") and word[:-2] in GLUED else (word,))
    ]
    if not words:
        return None
    if REPOST_WORDS.search(plain):
        return None if COUNT.search(plain) else Role.REPOST
    if OTHER_PEOPLE.search(plain) or COUNT.search(plain):
        return None
    names_somebody = {*words} & (AUTHOR_WORDS | {"name"}) and {*words} <= AUTHOR_WORDS | NAME_WORDS
    if names_somebody and words[-1] not in DETAILS:
        return Role.AUTHOR
    if {*words} & ID_WORDS and {*words} <= ID_WORDS | POST_WORDS:
        return Role.ID
    is_time = {*words} & TIME_WORDS or any(GLUED_TIME.fullmatch(word) for word in words)
    return Role.TIME if is_time and not {*words} & OTHER_TIMES else None


def _unwrapped(value: object) -> Any:  # noqa: ANN401 - a value of JSON
    """Return what MongoDB's export wraps by its type, such as {"$date": "…"} and {"$numberLong": "…"}."""
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        value = next(iter(value.values()))
    return value


def flat(row: Mapping[str, Any], prefix: str = "", depth: int = MAX_DEPTH) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a row with their values; those of nested objects by names such as user.screen_name.

    An object that is nested deeper than MAX_DEPTH, or that describes another post, is a value.
    """
    for name, value in row.items():
        full = f"{prefix}{name}"
        role, value = role_of(full)[0], _unwrapped(value)
        if not isinstance(value, dict) or role in WHOLE or not depth:
            yield full, value
            continue
        inner = list(flat(value, f"{full}.", depth - 1))
        if role is not Role.OTHER and not any(role_of(nested)[0] is role for nested, _ in inner):
            yield full, value  # an author that is an object without a name is an error of that row
        yield from inner
