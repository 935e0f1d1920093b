"""The playground in a real Chromium: hostile cards, prompts and answers are words, and never run."""

import re

import pytest
from playground_server import ask, done


def test_a_hostile_card_is_words(tab):
    from playwright.sync_api import expect

    tab.goto("/#bot=sly")
    card = tab.locator("#card")
    expect(card.locator("h3")).to_have_text('sly <script>document.title = "owned"</script>')
    assert tab.evaluate("[...document.querySelectorAll('#card *')].map((node) => node.localName)").count("a") == 1
    assert card.locator("script, img, b, i, iframe").count() == 0
    link = card.get_by_role("link")
    assert link.get_attribute("href") == "https://huggingface.co/gpt2#limits"
    assert "noopener" in link.get_attribute("rel")
    expect(card).to_contain_text("the real one (huggingface.co)")
    expect(card).to_contain_text("press me data bank")
    expect(card).to_contain_text("[picture: tracker]")
    expect(card.locator("ul li")).to_have_text("<b>not bold</b> desrever and strong with code")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", card.text_content())
    expect(card.get_by_role("row")).to_have_text(["Data@sly", "Tweets <i>downloaded</i>1,620", "Tweets kept1,350"])
    expect(card.locator("ol li")).to_have_text(["first goes on", "second"])
    expect(card.locator("pre")).to_be_hidden()
    card.get_by_text("Use <b>it</b>").click()
    expect(card.locator("pre")).to_be_visible()
    expect(card.locator("pre")).to_have_text('print("<script>")')
    expect(card).not_to_contain_text("language: en")
    assert tab.title() == "sly · Mynah"


def test_hostile_prompts_and_answers_are_words(tab):
    tab.goto("/#bot=wren&n=1&seed=1")
    expect = ask(tab, "<img src=x onerror=\"document.title='owned'\">\u202e")
    done(tab, 1)
    expect(tab.locator("#answers li p")).to_have_text(
        "<img src=x onerror=\"document.title='owned'\"> <b>to</b> sing wren 1 0", use_inner_text=False
    )
    assert tab.locator("#answers img").count() == 0
    assert "\u202e" not in tab.locator("#answers").text_content()
    assert tab.title() == "wren · Mynah"


@pytest.mark.parametrize("length", [20_000, 120_000])
@pytest.mark.parametrize("piece", ["`", "[", "![](", "**", "|", "&#", "- ", "``x"])
def test_a_card_made_to_hang_the_page_does_not(plain_tab, piece, length):
    """Time grows with the length and not with its square: 120,000 characters would take minutes."""
    plain_tab.goto("/")
    program = "async (text) => (await import('/page/markdown.js')).render(text).textContent.length"
    assert plain_tab.evaluate(program, piece * (length // len(piece))) >= 0


def test_the_policy_stops_what_the_page_would_never_do(plain_tab):
    """The fixture's watch sees a violation when there is one."""
    plain_tab.goto("/#bot=wren")
    program = """() => {
        const script = document.createElement("script");
        script.append("document.title = 'owned'");
        for (const wrong of [
            () => document.body.append(script),
            () => (document.body.innerHTML = "<p>owned</p>"),
            () => document.body.setAttribute("onclick", "document.title = 'owned'"),
            () => document.head.append(Object.assign(document.createElement("style"), { textContent: "p { color: red }" })),
            () => (new Image().src = "https://evil.example/pixel.png"),
            () => fetch("https://evil.example/").catch(() => {}),
        ]) try { wrong(); } catch {}
    }"""
    plain_tab.evaluate(program)
    plain_tab.wait_for_timeout(300)
    seen = [line.split()[1] for line in plain_tab.wrong if line.startswith("CSP ")]
    assert {"require-trusted-types-for", "style-src-elem", "img-src", "connect-src"} <= set(seen)
    assert seen.count("require-trusted-types-for") >= 3
    assert plain_tab.title() == "wren · Mynah"
    plain_tab.foreign.clear()  # what the policy blocked is listed too
