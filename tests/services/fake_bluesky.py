"""Bluesky's public host over real HTTP, and its repositories' CAR files.

queries and shapes     https://docs.bsky.app/docs/api/app-bsky-feed-get-author-feed, lexicons/app/bsky/feed/defs.json
errors                 XRPC: status 400 with `error` and `message`; https://atproto.com/specs/xrpc#error-responses
limits                 ratelimit-* headers of the draft of the IETF
repositories           https://atproto.com/specs/repository; the tree's layers by leading zeros of the key's digest
"""

import hashlib

from tests.http_fake import Answer, HttpFake

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
OTHER = "did:plc:z72i7hdynmk6r22z27h6tvur"
PROFILE = {
    "did": DID,
    "handle": "wren.bsky.social",
    "displayName": "Wren 🐦",
    "description": "Small bird.",
    "postsCount": 3,
    "labels": [],
}
TOO_MANY = {"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"}


def tid(when):
    """The key that a client makes of a time, https://atproto.com/specs/tid."""
    number = round(when.timestamp() * 1e6) << 10 | 7
    return "".join("234567abcdefghijklmnopqrstuvwxyz"[number >> 5 * place & 31] for place in reversed(range(13)))


def record(text, **fields):
    return {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2024-03-01T12:00:00.000Z", "langs": ["en"], **fields}


def facet(text, part, feature, **more):
    """A facet over `part` of `text`, in bytes."""
    start = text.encode().index(part.encode())
    index = {"byteStart": start, "byteEnd": start + len(part.encode())}
    return {"index": index, "features": [{"$type": f"app.bsky.richtext.facet#{feature}", **more}]}


def view(key, found, did=DID, **more):
    """An item of a feed."""
    post = {
        "uri": f"at://{did}/app.bsky.feed.post/{key}",
        "cid": "bafyreia3tbsfxe3cc75xrxyyn6qc42oupi73fxiox76prlyi5bpx7hr72u",
        "author": {"did": did, "handle": "wren.bsky.social" if did == DID else "other.example.com"},
        "record": found,
        "indexedAt": "2024-03-01T12:00:05.000Z",
        "labels": [],
    }
    return {"post": post, **more}


def repost(key, found, **reason):
    by = {"did": DID, "handle": "wren.bsky.social"}
    why = {"$type": "app.bsky.feed.defs#reasonRepost", "by": by, "indexedAt": "2024-03-02T12:00:00.000Z", **reason}
    return view(key, found, OTHER, reason=why)


class FakeBluesky(HttpFake):
    """An account and its feed."""

    gzips = True
    bytes_type = HttpFake.json_type

    def __init__(self, feed, profile=PROFILE):
        super().__init__()
        self.feed, self.profile, self.error = feed, profile, None

    def respond(self, asked):
        method, query = asked.path.removeprefix("/xrpc/"), asked.query
        if self.error:
            return Answer(400, self.error)
        if method == "app.bsky.actor.getProfile":
            if query["actor"] not in (self.profile["handle"], self.profile["did"]):
                return Answer(400, {"error": "InvalidRequest", "message": "Profile not found"})
            return Answer(200, self.profile)
        if method == "app.bsky.feed.getAuthorFeed":
            limit, start = int(query.get("limit", 50)), int(query.get("cursor", "0"))
            assert 1 <= limit <= 100 and query["actor"] == self.profile["did"]
            answer = {"feed": self.feed[start : start + limit]}
            if start + limit < len(self.feed):
                answer["cursor"] = str(start + limit)
            return Answer(200, answer)
        return Answer(501, {"error": "MethodNotImplemented", "message": "Method Not Implemented"})


class Link(bytes):
    """A CID, as DAG-CBOR writes links."""


def cbor(value):
    """`value` in DAG-CBOR."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value)
    if isinstance(value, Link):
        return b"\xd8\x2a" + _head(2, len(value) + 1) + b"\0" + value
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    items = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
    return _head(5, len(items)) + b"".join(cbor(key) + cbor(inner) for key, inner in items)


def _head(major, number):
    for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 256**size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    raise ValueError(number)


def cid(block):
    return Link(b"\x01\x71\x12\x20" + hashlib.sha256(block).digest())


def _layer(key):
    bits = f"{int.from_bytes(hashlib.sha256(key).digest(), 'big'):0256b}"
    return (len(bits) - len(bits.lstrip("0"))) // 2


class Repository:
    """Blocks of a repository with these records: path to value."""

    def __init__(self, records, did=DID):
        self.blocks = {}
        leaves = sorted((path.encode(), self._put(value)) for path, value in records.items())
        tree = self._tree(leaves) or self._put({"e": [], "l": None})
        self.root = self._put({"did": did, "version": 3, "data": tree, "rev": "3kmbwhnjtyk2b", "prev": None, "sig": b"\1" * 64})

    def _put(self, value):
        block = cbor(value)
        self.blocks[cid(block)] = block
        return cid(block)

    def _tree(self, leaves):
        if not leaves:
            return None
        top = max(_layer(key) for key, _ in leaves)
        groups, entries, before = [[]], [], b""
        for key, link in leaves:
            if _layer(key) == top:
                entries.append((key, link))
                groups.append([])
            else:
                groups[-1].append((key, link))
        node = {"l": self._tree(groups[0]), "e": []}
        for (key, link), below in zip(entries, groups[1:], strict=True):
            shared = next(
                (n for n, pair in enumerate(zip(before, key, strict=False)) if pair[0] != pair[1]), min(len(before), len(key))
            )
            node["e"].append({"p": shared, "k": key[shared:], "v": link, "t": self._tree(below)})
            before = key
        return self._put(node)

    def car(self, version=1):
        """The CAR file, with the blocks in an order of their own."""
        parts = [cbor({"roots": [self.root], "version": version})]
        parts += [link + block for link, block in sorted(self.blocks.items())]
        return b"".join(_varint(len(part)) + part for part in parts)


def _varint(number):
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
