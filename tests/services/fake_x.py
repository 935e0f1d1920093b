"""The X API, version 2, over real HTTP: what Mynah asks of it, answered in the shapes of its documents, and billed as it bills.

shapes and fields      https://docs.x.com/x-api/fundamentals/data-dictionary and its openapi.json
pages                  https://docs.x.com/x-api/fundamentals/pagination; timelines: 3,200 posts, 800 without replies
problems               https://docs.x.com/x-api/fundamentals/response-codes-and-errors; most as status 200
prices                 https://docs.x.com/x-api/getting-started/pricing: what is given out, expansions too
"""

import re

from tests.http_fake import Answer, HttpFake

TOKEN = "AAAA%3Dsecret-of-the-app"
PROBLEMS = "https://api.twitter.com/2/problems"
DEFAULT_FIELDS = {"id", "text", "edit_history_tweet_ids"}
WREN = {
    "id": "2244994945",
    "username": "Wren",
    "name": "Wren & Co",
    "description": "Small bird.",
    "protected": False,
    "profile_image_url": "",
}
UNAUTHORIZED = {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}
TOO_MANY = {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429}
CAPPED = {
    "account_id": 2244994945,
    "product_name": "standard-basic",
    "title": "UsageCapExceeded",
    "period": "Monthly",
    "scope": "Product",
    "detail": "Usage cap exceeded: Monthly product cap",
    "type": f"{PROBLEMS}/usage-capped",
}
NO_CREDITS = {
    "account_id": 2244994945,
    "title": "CreditsDepleted",
    "detail": "Your enrolled account [2244994945] does not have any credits to fulfill this request.",
    "type": f"{PROBLEMS}/credits",
}
NOT_ENROLLED = {
    "client_id": "12345",
    "detail": "When authenticating requests to the Twitter API v2 endpoints, you must use keys and tokens from a Twitter developer App that is attached to a Project.",  # noqa: E501 - X's own words
    "registration_url": "https://developer.twitter.com/en/docs/projects/overview",
    "title": "Client Forbidden",
    "required_enrollment": "Appropriate Level of API Access",
    "reason": "client-not-enrolled",
    "type": f"{PROBLEMS}/client-forbidden",
}


def tweet(number, text, **fields):
    """A post as X gives it."""
    identity = str(number)
    return {
        "id": identity,
        "text": text,
        "edit_history_tweet_ids": [identity],
        "created_at": "2023-02-01T12:00:00.000Z",
        "lang": "en",
        **fields,
    }


def problem(title, detail, kind, name, parameter="username"):
    return {
        "errors": [
            {"value": name, "detail": detail, "title": title, "resource_type": "user", "parameter": parameter, "resource_id": name, "type": f"{PROBLEMS}/{kind}"}  # noqa: E501 - one shape
        ]
    }  # fmt: skip


class FakeX(HttpFake):
    """An account and its timeline. `given_out` counts what X would charge for: posts and accounts."""

    gzips = True
    bytes_type = HttpFake.json_type

    def __init__(self, timeline, account=WREN):
        super().__init__()
        self.timeline, self.account = timeline, account
        self.lookup = None  # instead of the account
        self.statuses = None  # instead of posts
        self.hidden = set()  # ids that are missing from their pages, which are the shorter for it
        self.given_out = {"posts": 0, "accounts": 0}

    def respond(self, asked):
        if asked.path == "/picture_400x400.jpg":
            assert "Authorization" not in asked.headers
            return Answer(200, b"a picture", {"Content-Type": "image/jpeg"})
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(401, UNAUTHORIZED)
        if match := re.fullmatch(r"/2/users/by/username/(\w+)", asked.path):
            return self._user(match[1], asked.query)
        if re.fullmatch(r"/2/users/\d+/tweets", asked.path):
            return self._tweets(asked.query)
        return Answer(404, {"title": "Not Found", "type": "about:blank", "status": 404, "detail": "Not Found"})

    def _user(self, name, query):
        if self.lookup:
            return Answer(200, self.lookup)
        if name.lower() != self.account["username"].lower():
            return Answer(
                200, problem("Not Found Error", f"Could not find user with username: [{name}].", "resource-not-found", name)
            )
        self.given_out["accounts"] += 1
        wanted = {"id", "name", "username", *query.get("user.fields", "").split(",")}
        return Answer(200, {"data": {key: value for key, value in self.account.items() if key in wanted}})

    def _tweets(self, query):
        if self.statuses:
            return Answer(200, self.statuses)
        size = int(query.get("max_results", 10))
        if not 5 <= size <= 100:
            message = f"The `max_results` query parameter value [{size}] is not between 5 and 100"
            errors = [{"parameters": {"max_results": [str(size)]}, "message": message}]
            said = "One or more parameters to your request was invalid."
            return Answer(
                400, {"errors": errors, "title": "Invalid Request", "detail": said, "type": f"{PROBLEMS}/invalid-request"}
            )
        cap = 800 if "replies" in query.get("exclude", "") else 3200
        until = query.get("until_id")
        there = [each for each in self.timeline[:cap] if not until or int(each["id"]) < int(until)]
        start = int(query.get("pagination_token", "p0")[1:])
        page = [each for each in there[start : start + size] if each["id"] not in self.hidden]
        fields = DEFAULT_FIELDS | set(query.get("tweet.fields", "").split(","))
        self.given_out["posts"] += len(page)
        meta = {"result_count": len(page)}
        if page:
            meta |= {"newest_id": page[0]["id"], "oldest_id": page[-1]["id"]}
        if start + size < len(there):
            meta["next_token"] = f"p{start + size}"
        data = [{key: value for key, value in each.items() if key in fields} for each in page]
        return Answer(200, ({"data": data} if data else {}) | {"meta": meta})
