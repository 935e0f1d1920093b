"""A Mastodon server over real HTTP, and the archive that it gives an account.

methods and shapes     https://docs.joinmastodon.org/methods/accounts/, https://docs.joinmastodon.org/entities/Status/
pages                  the Link header, https://docs.joinmastodon.org/api/guidelines/#pagination
limits                 https://docs.joinmastodon.org/api/rate-limits/
the archive            app/services/backup_service.rb in mastodon/mastodon
"""

import json

from tests.http_fake import Answer, HttpFake

TOO_MANY = {"error": "Too many requests"}
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
ACTOR = "https://birds.example/users/wren"
ACCOUNT = {
    "id": "23634",
    "username": "wren",
    "acct": "wren",
    "display_name": "Wren :verified:",
    "locked": False,
    "bot": False,
    "note": '<p>Small bird.<br />See <a href="https://birds.example/tags/wrens" class="mention hashtag" rel="tag">#<span>wrens</span></a></p>',
    "url": "https://birds.example/@wren",
    "avatar": "",
    "avatar_static": "",
    "created_at": "2016-11-24T00:00:00.000Z",
    "statuses_count": 3,
    "emojis": [],
    "fields": [],
}


def status(number, content, **fields):
    """A status as Mastodon gives it."""
    return {
        "id": str(number),
        "created_at": "2024-03-01T12:00:00.000Z",
        "in_reply_to_id": None,
        "in_reply_to_account_id": None,
        "sensitive": False,
        "spoiler_text": "",
        "visibility": "public",
        "language": "en",
        "uri": f"{ACTOR}/statuses/{number}",
        "url": f"https://birds.example/@wren/{number}",
        "replies_count": 0,
        "reblogs_count": 0,
        "favourites_count": 0,
        "edited_at": None,
        "content": content,
        "reblog": None,
        "account": ACCOUNT,
        "media_attachments": [],
        "mentions": [],
        "tags": [],
        "emojis": [],
        "card": None,
        "poll": None,
        **fields,
    }


class FakeMastodon(HttpFake):
    """An account and its statuses, newest first."""

    gzips = True
    bytes_type = HttpFake.json_type

    def __init__(self, statuses, account=ACCOUNT):
        super().__init__()
        self.statuses, self.account, self.refuses = statuses, account, {}

    def respond(self, asked):
        if asked.path == "/avatar.png":
            return Answer(200, b"a picture", {"Content-Type": "image/png"})
        assert "Authorization" not in asked.headers
        kind = "lookup" if asked.path.endswith("/lookup") else "statuses"
        if kind in self.refuses:
            return self.refuses[kind]
        if asked.path == "/api/v1/accounts/lookup":
            if asked.query["acct"].lower() != self.account["username"]:
                return Answer(404, {"error": "Record not found"})
            return Answer(200, self.account)
        if asked.path == f"/api/v1/accounts/{self.account['id']}/statuses":
            return self._page(asked.query)
        return Answer(404, {"error": "Record not found"})

    def _page(self, query):
        limit = min(int(query.get("limit", 20)), 40)
        there = [each for each in self.statuses if int(each["id"]) < int(query.get("max_id", 10**20))]
        page = there[:limit]
        headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "299", "X-RateLimit-Reset": "2030-01-01T00:00:00.000000Z"}
        if len(page) == limit:  # records_continue? of Mastodon
            base = f"{self.url}/api/v1/accounts/{self.account['id']}/statuses?limit={limit}"
            headers["Link"] = f'<{base}&max_id={page[-1]["id"]}>; rel="next", <{base}&min_id={page[0]["id"]}>; rel="prev"'
        return Answer(200, page, headers)


def note(number, content, **fields):
    """The activity by which a post was made."""
    made = {
        "id": f"{ACTOR}/statuses/{number}",
        "type": "Note",
        "summary": None,
        "inReplyTo": None,
        "published": "2024-03-01T12:00:00Z",
        "url": f"https://birds.example/@wren/{number}",
        "attributedTo": ACTOR,
        "to": [PUBLIC],
        "cc": [f"{ACTOR}/followers"],
        "sensitive": False,
        "content": content,
        "contentMap": {"en": content},
        "attachment": [],
        "tag": [],
        **fields,
    }
    return {
        "id": f"{made['id']}/activity",
        "type": "Create",
        "actor": ACTOR,
        "published": made["published"],
        "to": made["to"],
        "cc": made["cc"],
        "object": made,
    }


def boost(number, address):
    return {
        "id": f"{ACTOR}/statuses/{number}/activity",
        "type": "Announce",
        "actor": ACTOR,
        "published": "2024-03-02T12:00:00Z",
        "to": [PUBLIC],
        "cc": [f"{ACTOR}/followers"],
        "object": address,
    }


def archive(*items):
    """The files of an archive; among them some that are nobody's business."""
    actor = {
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": ACTOR,
        "type": "Person",
        "preferredUsername": "wren",
        "name": "Wren",
        "summary": "<p>Small bird.</p>",
        "icon": {"type": "Image", "mediaType": "image/png", "url": "avatar.png"},
    }
    outbox = {
        "@context": ["https://www.w3.org/ns/activitystreams", {"ostatus": 'http://ostatus.org#", "orderedItems": [1'}],
        "id": "outbox.json",
        "type": "OrderedCollection",
        "totalItems": len(items),
        "orderedItems": list(items),
        "after": "the list",
    }
    return {
        "actor.json": json.dumps(actor),
        "outbox.json": json.dumps(outbox),
        "likes.json": "not to be read",
        "bookmarks.json": "not to be read",
        "avatar.png": b"a picture",
    }
