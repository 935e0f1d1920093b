"""Mastodon's API through the fetch step: pages, kinds, HTML, hosts, failures and limits."""

import socket
from datetime import UTC, datetime

import pytest
from failures import LOGIN_PAGE, reset, truncated
from fake_mastodon import ACCOUNT, status
from fake_mastodon import TOO_MANY as MASTODON_TOO_MANY
from free_fetch import BROKEN, HASHTAG, MARCH, read, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from components.fetch.http import session
from components.fetch.mastodon.api import open_account
from components.fetch.mastodon.html_text import html_text
from mynah.core.errors import InputError, PlatformError
from mynah.data.posts import Kind
from tests.http_fake import Answer


def statuses(clock, account="wren@birds.example"):
    return read(open_account(account, clock.patience))


def test_all_pages_of_an_account_and_its_profile(mastodon, clock):
    fake = mastodon([status(1000 - number, f"<p>Post {number}</p>") for number in range(90)])
    fake.account = {**ACCOUNT, "avatar_static": f"{fake.url}/avatar.png"}
    content = open_account("@Wren@Birds.Example", clock.patience)
    posts = read(content)
    assert [post.text for post in posts] == [f"Post {number}" for number in range(90)]
    assert (content.author, content.display_name, content.bio) == (
        "wren@birds.example",
        "Wren :verified:",
        "Small bird.\nSee #wrens",
    )
    assert content.avatar == b"a picture"
    assert {(post.author, post.source, post.language, post.created_at) for post in posts} == {
        ("wren@birds.example", "mastodon", "en", MARCH)
    }
    assert [asked.query.get("max_id") for asked in fake.requests if "/statuses" in asked.path] == [None, "961", "921"]
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in fake.requests} == {"mynah"}


def test_kinds_replies_boosts_quotes_clients_and_edits(mastodon, clock):
    boosted = status(7, "<p>Fish</p>", language="de")
    mastodon(
        [
            status(9, "<p>Plain, now</p>", application={"name": "Tusky"}, edited_at="2024-03-03T12:00:00.000Z"),
            status(8, "<p>Yes</p>", in_reply_to_id="3", in_reply_to_account_id="1"),
            status(6, "<p>And on</p>", in_reply_to_id="8", in_reply_to_account_id=ACCOUNT["id"]),
            status(5, "", reblog=boosted),
            status(
                4,
                '<p class="quote-inline">RE: <a href="https://x.example/1">https://x.example/1</a></p><p>This!</p>',
                quote={"state": "accepted", "quoted_status": boosted},
            ),
            status(3, "<p>Quietly</p>", visibility="unlisted"),
            status(2, "<p>For friends</p>", visibility="private"),
            status(1, "<p>For one</p>", visibility="direct"),
        ]
    )
    posts = statuses(clock)
    assert [post.kind for post in posts] == [Kind.ORIGINAL, Kind.REPLY, Kind.REPLY, Kind.REPOST, Kind.QUOTE, Kind.ORIGINAL]
    assert [post.text for post in posts] == ["Plain, now", "Yes", "And on", "Fish", "This!", "Quietly"]
    assert [(post.reply_to, post.reply_to_self) for post in posts[:3]] == [("", False), ("3", False), ("8", True)]
    assert (posts[0].client, posts[3].language) == ("Tusky", "de")


LINK = (
    '<a href="https://www.example.com/a/long/way" rel="nofollow noopener" target="_blank"><span class="invisible">https://www.</span>'
    '<span class="ellipsis">example.com/a/long</span><span class="invisible">/way</span></a>'
)
MENTION = '<span class="h-card" translate="no"><a href="https://birds.example/@heron" class="u-url mention">@<span>heron</span></a></span>'


@pytest.mark.parametrize(
    ("html", "text", "entities"),
    [
        (
            f"<p>{MENTION} look: {LINK}<br />{HASHTAG} &amp; 🐟 &lt;3</p>",
            "@heron look: example.com/a/long…\n#fish & 🐟 <3",
            [("@heron", "mention"), ("example.com/a/long…", "url"), ("#fish", "hashtag")],
        ),
        ("<p>One</p><p>Two<br>Three</p>", "One\n\nTwo\nThree", []),
        ("a <b>bold</b>, <i>word</i>\n  and\nmore", "a bold, word and more", []),
        ("<ul><li>One</li><li>Two</li></ul><p>After</p>", "One\nTwo\n\nAfter", []),
        ("<pre>def f():\n    return 1\n\nf()</pre>", "def f():\n    return 1\n\nf()", []),
        ("<blockquote><p>Said</p></blockquote>Yes<script>alert(1)</script><!-- no -->", "Said\n\nYes", []),
        ("<p>Unclosed <a href='https://e.example'>link <span class='invisible'>x</p>end", "Unclosed link\n\nend", [("link", "url")]),
        ("a&nbsp;b &#128038; &unknown; & c < d", "a\xa0b 🐦 &unknown; & c < d", []),
        ("🐦<a name='x'>no link</a> <img src='x' alt='y'>", "🐦no link", []),
        ("before the rule<hr>after it", "before the rule\n\nafter it", []),
        ("<table><tr><td>mon</td><td>soup</td></tr><tr><th>tue</th><td>bread</td></tr></table>x", "mon soup\ntue bread\n\nx", []),
        ("<dl><dt>goat</dt><dd>a loud animal</dd></dl>", "goat\na loud animal", []),
        ("<details><summary>open me</summary>hidden words</details>", "open me\nhidden words", []),
        ("<article><header>a</header><section>b</section><footer>c</footer></article>", "a\nb\nc", []),
        ("<figure><img src='x'><figcaption>a</figcaption></figure>b", "a\n\nb", []),
        ("so<img class='emoji' alt='😀'>and<img class='custom-emoji' alt=':cat:'>on", "so 😀 and :cat: on", []),
        ("one<img alt='a view of hills'>two<button>three</button>four", "one two three four", []),
        ("<span class='invisible'><img class='emoji' alt=':x:'></span>y", "y", []),
        ("<noscript>a</noscript>b<custom-tag>c</custom-tag>d", "bcd", []),
        ("<p>a <![foo[ b</p><![CDATA[c]]><!DOCTYPE html>d", "a <![foo[ b\n\n<![CDATA[c]]>d", []),
        ("", "", []),
        ("<br><br>", "", []),
    ],
)  # fmt: skip
def test_html_becomes_the_text_that_a_reader_sees(html, text, entities):
    found, places = html_text(html)
    assert found == text
    assert [(found[each.start : each.end], each.kind) for each in places] == entities


TAGS = [
    "<p>",
    "</p>",
    "<br>",
    "<span class='invisible'>",
    "</span>",
    "<a href='x'>",
    "</a>",
    "<pre>",
    "</pre>",
    "<!--",
    "<li/>",
    "<![",
    "<![CDATA[",
    "<!x",
]
PIECES = [LINK, MENTION, HASHTAG, *TAGS, "&amp;", "<", ">", "<![", "<![CDATA[", "<!x", "]]>", " ", "\n", "🐦", "word"]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text())
def test_any_html_becomes_text_with_entities_in_their_places(html):
    text, entities = html_text(html)
    ends = [0, *(each.end for each in entities)]
    assert all(before <= each.start < each.end <= len(text) for before, each in zip(ends, entities, strict=False))


def test_deeply_nested_html_is_read_all_the_same():
    assert html_text("<span>" * 20_000 + "deep" + "</span>" * 20_000)[0] == "deep"


BAD_HOSTS = [
    "", "localhost", "127.0.0.1", "[::1]", "2130706433", "birds.example/x", "birds.example:0", "birds.example:99999", "birds.example:",
    "birds.local", "metadata.google.internal", "birds..example", "birds.example?x", "birds.example\n", "-birds.example",
]  # fmt: skip
BAD_USERS = ["", "wren:pw", "a b", "../x", "wren/", "wren?"]


@pytest.mark.parametrize(
    "account", ["", "wren", *(f"wren@{host}" for host in BAD_HOSTS), *(f"{user}@birds.example" for user in BAD_USERS)]
)
def test_an_account_of_a_wrong_form_is_refused_before_anything_is_asked(mastodon, clock, account):
    fake = mastodon()
    assert "is not a Mastodon account" in refused(InputError, lambda: statuses(clock, account))
    assert fake.requests == []


@pytest.mark.parametrize(
    ("account", "author"),
    [("wren@vögel.example:8443", "wren@xn--vgel-5qa.example_8443"), ("Wren@BIRDS.example", "wren@birds.example")],
)
def test_names_of_servers_in_all_their_forms(mastodon, clock, account, author):
    mastodon()
    assert open_account(account, clock.patience).author == author


@pytest.mark.parametrize(
    ("where", "answer", "words"),
    [
        ("lookup", Answer(404, {"error": "Record not found"}), "birds.example has no account wren"),
        ("lookup", Answer(404, b"<html>not here</html>", {"Content-Type": "text/html"}), "has no account"),
        ("lookup", Answer(410, {"error": "Gone"}), "was deleted"),
        ("lookup", Answer(200, {**ACCOUNT, "suspended": True}), "is suspended"),
        ("lookup", Answer(401, {"error": "The access token is invalid"}), "without a login (401: The access token is invalid)"),
        ("statuses", Answer(401, {"error": "This method requires an authenticated user"}), "without a login"),
        ("statuses", Answer(403, {"error": "This action is not allowed"}), "without a login"),
        ("statuses", Answer(422, {"error": "This method requires an authenticated user"}), "without a login"),
        ("statuses", Answer(400, {"error": "Odd"}), "Odd"),
        ("statuses", Answer(200, {"no": "list"}), "contains no posts"),
        ("lookup", Answer(200, ["no account"]), "no account"),
        ("lookup", Answer(301, b"", {"Location": "http://169.254.169.254/x"}), "another server, '169.254.169.254'"),
    ],
)
def test_what_a_server_of_mastodon_refuses(mastodon, clock, where, answer, words):
    mastodon([status(1, "<p>Hello</p>")]).refuses = {where: answer}
    assert words in refused((InputError, PlatformError), lambda: statuses(clock))
    assert clock.waits == []


def test_a_moved_account_is_read_where_it_was(mastodon, clock, capsys):
    mastodon([status(1, "<p>Hello</p>")], {**ACCOUNT, "moved": {**ACCOUNT, "acct": "wren@nest.example"}})
    assert len(statuses(clock)) == 1
    assert "has moved to wren@nest.example" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [BROKEN, reset, truncated, LOGIN_PAGE])
def test_what_may_pass_at_mastodon_is_tried_again(mastodon, clock, failure):
    fake = mastodon([status(1000 - number, f"<p>Post {number}</p>") for number in range(90)])
    fake.failures = [None, None, failure, failure]
    assert len(statuses(clock)) == 90
    assert clock.waits == [1, 2]
    fake.failures = [None, *[failure] * 5]
    assert "5 times in a row" in refused(PlatformError, lambda: statuses(clock))


def test_limits_of_mastodon(mastodon, clock):
    fake = mastodon([status(1, "<p>Hello</p>")])
    at = datetime.fromtimestamp(1.7e9 + 200, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    fake.failures = [
        None,
        Answer(429, MASTODON_TOO_MANY, {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at}),
    ]
    assert len(statuses(clock)) == 1
    assert clock.waits == [201]


def test_pages_of_mastodon_that_repeat_themselves_end(mastodon, clock):
    fake = mastodon()
    page = [status(9, "<p>Again</p>")]
    link = {"Link": f'<{fake.url}/api/v1/accounts/23634/statuses?max_id=10>; rel="next"'}
    fake.refuses = {"statuses": Answer(200, page, link)}
    assert "have no end" in refused(PlatformError, lambda: statuses(clock))


def test_a_link_that_leads_to_another_server_is_not_followed(mastodon, clock):
    fake = mastodon()
    link = {"Link": '<http://169.254.169.254/api?max_id=5>; rel="next"'}
    fake.failures = [None, Answer(200, [status(9, "<p>One</p>")], link)]
    assert [post.text for post in statuses(clock)] == ["One"]
    assert fake.requests[-1].query["max_id"] == "5"  # the number is taken, and the address is not


def test_what_is_a_public_address_for_a_picture(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.1", 443))])
    assert not session._is_public("https://files.birds.example/a.png")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))])
    assert session._is_public("https://files.birds.example/a.png")
    assert not any(
        map(
            session._is_public,
            (
                "http://files.birds.example/a",
                "https://u@files.birds.example/a",
                "https://files.birds.example:22/a",
                "https://[",
                "",
            ),
        )
    )
