"""The X API through the fetch step: pages, kinds, long texts, positions."""

from datetime import UTC, datetime

from fake_x import WREN, tweet
from x_fetch import YES, fetched, many

from components.fetch.x.api import open_timeline
from mynah.data.posts import Entity, Kind


def test_all_pages_of_a_timeline_newest_first_with_the_profile(x):
    fake = x(many(250), account={**WREN, "profile_image_url": "{url}/picture_normal.jpg"})
    fake.account["profile_image_url"] = f"{fake.url}/picture_normal.jpg"
    content = open_timeline("@wren", 0, YES)
    posts = list(content.posts(lambda _: None))
    assert [post.text for post in posts] == [f"Post {250 - number}" for number in range(250)]
    assert (content.author, content.display_name, content.bio, content.avatar) == (
        "Wren",
        "Wren & Co",
        "Small bird.",
        b"a picture",
    )
    assert {(post.author, post.source, post.language) for post in posts} == {("Wren", "x-api", "en")}
    assert posts[0].created_at == datetime(2023, 2, 1, 12, tzinfo=UTC)
    pages = [asked for asked in fake.requests if asked.path.endswith("/tweets")]
    assert [page.query.get("pagination_token") for page in pages] == [None, "p100", "p200"]
    assert not any(
        "exclude" in page.query or "expansions" in page.query for page in pages
    )  # the one costs posts, the other money
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in fake.requests} == {"mynah"}


def test_no_more_than_3200_are_asked_for_and_a_limit_ends_it_earlier(x):
    fake = x(many(3300))
    assert len(fetched()) == 3200
    assert fake.given_out == {"posts": 3200, "accounts": 1}
    assert len(fetched(limit=130)) == 130
    assert fake.given_out["posts"] == 3200 + 130
    before = fake.given_out["posts"]
    assert len(fetched(limit=2)) == 2
    assert fake.given_out["posts"] == before + 5  # the least that X gives


def test_kinds_replies_and_clients(x):
    refers = lambda kind, number=7: {"referenced_tweets": [{"type": kind, "id": str(number)}]}  # noqa: E731 - a shorthand
    link = {"start": 5, "end": 28, "url": "https://t.co/aaaaaaaaaa", "expanded_url": "https://x.com/heron/status/99"}
    x(
        [
            tweet(9, "Plain", source="Twitter for iPhone"),
            tweet(8, "@heron yes", in_reply_to_user_id="55", **refers("replied_to")),
            tweet(7, "and on", in_reply_to_user_id=WREN["id"], **refers("replied_to", 6)),
            tweet(6, "This! https://t.co/aaaaaaaaaa", **refers("quoted", 99)),
            tweet(
                5, "This! https://t.co/aaaaaaaaaa", entities={"urls": [{**link, "start": 6, "end": 29}]}
            ),  # the quoted one is gone
            tweet(4, "RT @heron: Fish", **refers("retweeted")),
            tweet(3, "@heron gone", in_reply_to_user_id="55"),
        ]
    )
    posts = fetched()
    kinds = [Kind.ORIGINAL, Kind.REPLY, Kind.REPLY, Kind.QUOTE, Kind.QUOTE, Kind.REPOST, Kind.REPLY]
    assert [post.kind for post in posts] == kinds
    assert [post.reply_to for post in posts] == ["", "7", "6", "", "", "", ""]
    assert [post.reply_to_self for post in posts] == [False, False, True, False, False, False, False]
    assert posts[0].client == "Twitter for iPhone"


def test_long_texts_are_whole_and_have_entities_of_their_own(x):
    long = "🐦 " * 150 + "see @heron &amp; https://t.co/bbbbbbbbbb"
    start = long.index("@heron")
    own = {"mentions": [{"start": start, "end": start + 6, "username": "heron", "id": "5"}]}
    x(
        [
            tweet(
                9,
                long[:270] + "…",
                note_tweet={"text": long, "entities": own},
                entities={"hashtags": [{"start": 1, "end": 3, "tag": "no"}]},
            )
        ]
    )
    [post] = fetched()
    assert (post.text, post.entities) == (long, (Entity(start, start + 6, "mention"),))


def test_positions_are_code_points_over_the_escaped_text_also_where_x_counts_otherwise(x):
    text = "🐦&amp;🐦 @Heron #bird @herons https://t.co/cccccccccc https://t.co/dddddddddd"
    spot = lambda part: {"start": text.index(part), "end": text.index(part) + len(part)}  # noqa: E731 - a shorthand
    shifted = {"start": text.index("#bird") - 4, "end": text.index("#bird") + 1}  # as over the text without its escape
    entities = {
        "mentions": [{**spot("@Heron"), "username": "heron"}, {"start": 0, "end": 3, "username": "nobody"}],
        "hashtags": [{**shifted, "tag": "bird"}],
        "urls": [
            {**spot("https://t.co/d"), "url": "https://t.co/dddddddddd", "media_key": "3_1"},
            {**spot("https://t.co/c"), "url": "https://t.co/cccccccccc", "expanded_url": "https://example.com"},
        ],
        "annotations": [{"start": 0, "end": 4, "type": "Other"}],
    }
    x([tweet(9, text, entities=entities)])
    [post] = fetched()
    marked = [(post.text[each.start : each.end], each.kind) for each in post.entities]
    assert marked == [
        ("@Heron", "mention"),
        ("#bird", "hashtag"),
        ("https://t.co/cccccccccc", "url"),
        ("https://t.co/dddddddddd", "media"),
    ]


def test_of_an_edited_post_only_the_last_version(x):
    versions = ["5", "6", "7"]
    x([tweet(number, f"Version {number}", edit_history_tweet_ids=versions) for number in (7, 6, 5)])
    assert [post.text for post in fetched()] == ["Version 7"]


def test_a_post_of_an_odd_shape_is_left_out_and_told(x, capsys):
    x(
        [
            tweet(9, "Good"),
            tweet(8, None),
            {"text": "without id", "id": "abc"},
            tweet(7, "Also", entities=[3], lang=4, created_at="soon"),
        ]
    )
    assert [(post.text, post.language, post.created_at is None) for post in fetched()] == [
        ("Good", "en", False),
        ("Also", "", True),
    ]
    assert "skipped 2 posts" in capsys.readouterr().err


def test_names_of_the_new_openapi_document_are_read_too(x):
    x([tweet(9, "Short", note_tweet=None, referenced_tweets=None)])
    fake_answer = {
        "data": [
            {
                "id": "9",
                "text": "Sho…",
                "note_post": {"text": "Short and long"},
                "referenced_posts": [{"type": "quoted", "id": "3"}],
            }
        ]
    }
    fake = x()
    fake.statuses = fake_answer
    [post] = fetched()
    assert (post.text, post.kind) == ("Short and long", Kind.QUOTE)
