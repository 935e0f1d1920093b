"""predictions.html: the tags that previews read, the links to post it, and that nothing an author wrote is more than words in it."""

import base64
import hashlib
import re
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.card.pictures.predictions import draw
from components.card.preview import ChosenSample, Person
from components.card.share_page import on_bluesky, on_x, share_page, x_weight
from mynah.data.markdown import JOINER, clean
from tests.code.card_text import FAST, HOSTILE

PICTURE = b"\x89PNG not really"
WREN = (Person("wren_groundling", "Wren Groundling"),)


class Page(HTMLParser):
    """A page's elements with their attributes, its metadata, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.strange: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.strange.append(data)

    def unknown_decl(self, data: str) -> None:
        self.strange.append(data)

    def handle_pi(self, data: str) -> None:
        self.strange.append(data)

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    @property
    def meta(self) -> dict[str, str]:
        named = [attributes for tag, attributes in self.elements if tag == "meta"]
        return {str(each.get("property") or each.get("name")): str(each.get("content")) for each in named}

    def links(self) -> list[str]:
        return [str(attributes["href"]) for tag, attributes in self.elements if tag == "a"]

    @property
    def quote(self) -> str:
        return "".join(self.words).partition("writes like")[2]


def page_of(sample: str, name: str = "Wren", prompt: str = "My dream is", url: str = "https://a.example/wren/") -> Page:
    return Page(share_page(ChosenSample("wren", (Person("wren_groundling", name),), prompt, (sample,), 1, url), PICTURE))


def test_the_page_has_what_previews_read(tmp_path: Path) -> None:
    meta = page_of("My dream is to sing.").meta
    assert meta["og:title"] == meta["twitter:title"] == "wren: a bot that writes like Wren (@wren_groundling)"
    assert meta["og:description"] == "“My dream is to sing.” (written by a language model, not by a person)"
    assert meta["og:image"] == meta["twitter:image"] == "https://a.example/wren/predictions.png"
    assert meta["og:image:alt"] == "wren writes: My dream is to sing."
    assert (meta["og:type"], meta["twitter:card"]) == ("website", "summary_large_image")
    assert meta["og:url"] == "https://a.example/wren/predictions.html"
    draw(ChosenSample("wren", WREN, "", ("Hm.",)).preview, tmp_path / "p.png")
    header = (tmp_path / "p.png").read_bytes()[16:24]
    assert (int(meta["og:image:width"]), int(meta["og:image:height"])) == (int.from_bytes(header[:4]), int.from_bytes(header[4:]))


def test_without_an_address_the_page_claims_none() -> None:
    page = page_of("My dream is to sing.", url="")
    assert "og:url" not in page.meta
    assert page.meta["og:image"] == "predictions.png"
    assert "canonical" not in str(page.elements)
    assert "url=" not in page.links()[0]


@pytest.mark.parametrize(
    ("url", "page", "picture"),
    [
        ("https://a.example", "https://a.example/predictions.html", "https://a.example/predictions.png"),
        ("https://a.example/b", "https://a.example/b/predictions.html", "https://a.example/b/predictions.png"),
        ("http://a.example:8000/b/", "http://a.example:8000/b/predictions.html", "http://a.example:8000/b/predictions.png"),
        ("https://a.example/b/c.html", "https://a.example/b/c.html", "https://a.example/b/predictions.png"),
    ],
)
def test_the_address_may_be_the_folders_or_the_pages(url: str, page: str, picture: str) -> None:
    meta = page_of("Hm.", url=url).meta
    assert (meta["og:url"], meta["og:image"]) == (page, picture)


def test_the_page_asks_nothing_of_others_and_runs_nothing() -> None:
    text = share_page(ChosenSample("wren", WREN, "My dream is", ("My dream is to sing.",)), PICTURE)
    page = Page(text)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "iframe", "object", "form", "base", "embed"})
    policy = next(str(attributes["content"]) for _, attributes in page.elements if "http-equiv" in attributes)
    [style] = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    [image] = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert image == f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    assert "Written by a language model, not by a person." in text


@pytest.mark.slow
@FAST
@given(HOSTILE, HOSTILE, HOSTILE)
def test_a_hostile_text_changes_words_only(sample: str, name: str, prompt: str) -> None:
    page, plain = page_of(f"a{sample}", name, prompt), page_of("ax", "x", "x")
    assert page.shape == plain.shape
    assert not page.strange
    assert clean(f"a{sample}") in page.quote
    for link, other in zip(page.links(), plain.links(), strict=True):
        assert urllib.parse.urlsplit(link)[:3] == urllib.parse.urlsplit(other)[:3]
        assert list(query(link)) == list(query(other))


def query(link: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query, strict_parsing=True, errors="strict"))


def test_the_links_hold_the_sample_and_who_wrote_it() -> None:
    said = "“My dream is to sing & fly?”\n\nwren, written by a language model, not by a person"
    assert query(on_x("wren", "My dream is to sing & fly?", "https://a.example/p")) == {
        "text": said,
        "url": "https://a.example/p",
    }
    found = on_bluesky("wren", "My dream is to sing & fly?", "https://a.example/p")
    assert found.startswith("https://bsky.app/intent/compose?text=")
    assert query(found)["text"] == f"{said}\n\nhttps://a.example/p"
    assert query(on_x("wren", "", "")) == {"text": "wren, written by a language model, not by a person"}


def test_a_posted_sample_mentions_nobody_and_links_nowhere() -> None:
    text = query(on_x("wren", "ask @ann at http://b.example #x", ""))["text"]
    assert not re.search(r"@\w|://|\w\.\w|#\w", text.partition("\n")[0])
    assert "ask @ann at http://b.example #x" in text.replace(JOINER, "")


@FAST
@given(HOSTILE | st.text(max_size=900) | st.sampled_from(["word " * 200, "漢字" * 200, "🙂" * 300, "a.b" * 200]))
def test_a_post_fits_where_it_goes_and_wastes_no_room(sample: str) -> None:
    plain = clean(sample)
    on_it, blue = (
        query(on_x("wren", plain, "https://a.example/p"))["text"],
        query(on_bluesky("wren", plain, "https://a.example/p")),
    )
    assert x_weight(on_it) <= 280 - 24
    assert len(blue["text"]) <= 300
    for text in (on_it, blue["text"]):
        shown = text.partition("”\n\n")[0].removeprefix("“").replace(JOINER, "")
        assert not plain or shown == plain or (shown.endswith("…") and plain.startswith(shown[:-1]))
    if plain and x_weight(on_it) < 240:
        assert "…" not in on_it or "…" in plain


@pytest.mark.parametrize(("text", "expected"), [("abc", 3), ("é", 1), ("漢", 2), ("🙂", 2), ("“a”", 3), ("…", 2)])
def test_texts_weigh_what_x_says(text: str, expected: int) -> None:
    assert x_weight(text) == expected
