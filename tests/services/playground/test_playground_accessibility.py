"""The playground in a real Chromium: by keyboard and screen reader, in both schemes and all sizes."""

import re

import pytest
from playground_server import ask, done, open_tab


def test_all_of_it_works_by_keyboard(tab):
    from playwright.sync_api import expect

    tab.goto("/")
    expect(tab.get_by_role("combobox", name="Bot")).to_have_value("bare")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Skip to the prompt")).to_be_focused()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("combobox", name="Bot")).to_be_focused()
    tab.keyboard.type("wre")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    expect(tab.get_by_label("Prompt")).to_be_focused()
    tab.keyboard.press("ControlOrMeta+a")
    tab.keyboard.type("slow")
    tab.keyboard.press("ControlOrMeta+Enter")
    expect(tab.locator("#answers li p").first).to_contain_text("and and")
    for name in ("Champion beside challenger", "Settings", "Ask"):
        tab.keyboard.press("Tab")
        assert name in tab.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent")
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", name
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("button", name="Stop")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Ask")).to_be_focused()
    expect(tab.locator("#status")).to_have_text(re.compile("^Stopped"))


# What a screen reader finds on the page once both answers are there.
ANSWERED = """
        - link "Skip to the prompt"
        - banner:
          - heading "Mynah" [level=1]
        - main:
          - form "Ask a bot":
            - text: Bot
            - combobox "Bot"
            - text: Prompt
            - textbox "Prompt"
            - checkbox "Champion beside challenger"
            - group:
              - spinbutton "Answers"
              - spinbutton "Max tokens"
              - spinbutton "Temperature"
              - spinbutton "Top-p"
              - spinbutton "Seed"
            - button "Ask"
            - button "Stop" [disabled]
            - button "Copy link"
          - status: "Done: 2 answers, seed 3."
          - region "Answers":
            - heading "Answers" [level=2]
            - region "Answers of wren":
              - heading "wren version 1" [level=3]
              - list:
                - listitem:
                  - paragraph
                  - button "Copy answer 1"
                - listitem:
                  - paragraph
                  - button "Copy answer 2"
          - complementary "About wren":
            - heading "About wren" [level=2]
            - img "A sample of what wren writes"
            - heading "wren" [level=3]
        - contentinfo
    """


def test_a_screen_reader_is_told_what_is_there_and_when_it_is_done(plain_tab):
    from playwright.sync_api import expect

    plain_tab.goto("/#bot=wren&n=2&seed=3")
    spoken = "new MutationObserver(() => (window.spoken ??= []).push(document.getElementById('status').textContent))"
    plain_tab.evaluate(
        f"{spoken}.observe(document.getElementById('status'), {{childList: true, characterData: true, subtree: true}})"
    )
    ask(plain_tab)
    done(plain_tab, 2)
    assert plain_tab.evaluate("window.spoken") == ["wren is writing …", "Done: 2 answers, seed 3."]  # never token by token
    assert plain_tab.locator("#answers").get_attribute("aria-busy") == "false"
    assert plain_tab.locator("[aria-live], [role=status], [role=alert], [role=log]").locator("#answers").count() == 0
    expect(plain_tab.locator("body")).to_match_aria_snapshot(ANSWERED)


CONTRASTS = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!/, 0\\)$|transparent/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = {};
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("button:disabled, noscript")) continue;
        const [front, back] = [getComputedStyle(node).color, behind(node)];
        const [low, high] = [light(front), light(back)].sort((one, other) => one - other);
        found[`${front} on ${back}`] = (high + 0.05) / (low + 0.05);
    }
    return found;
}"""


def test_every_text_has_contrast_enough(tab, shop):
    from playwright.sync_api import expect

    tab.goto("/#bot=sly&n=2&seed=3")
    ask(tab)
    done(tab, 2)
    ask(tab, "busy")
    expect(tab.get_by_role("alert").filter(visible=True)).to_be_visible()
    ask(tab, "I")
    done(tab, 2)
    tab.get_by_role("combobox").click()
    found = tab.evaluate(CONTRASTS)
    assert len(found) >= 5
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}  # WCAG 2.2, 1.4.3


def test_light_and_dark_differ(chromium, shop):
    papers = []
    for scheme in ("light", "dark"):
        with open_tab(chromium, shop, scheme) as page:
            page.goto("/")
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(252, 250, 246)", "rgb(23, 25, 29)"]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(chromium, shop, width):
    with open_tab(chromium, shop, viewport={"width": width, "height": 700}) as page:
        page.goto("/#bot=sly&n=1")
        ask(page, "a" * 400)
        done(page, 1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.wrong == []


def test_who_wants_less_motion_gets_none(chromium, shop):
    for motion, animation in (("no-preference", "blink"), ("reduce", "none")):
        with open_tab(chromium, shop, reduced_motion=motion) as page:
            page.goto("/#bot=wren&n=1")
            ask(page, "slow")
            page.locator(".writing p").wait_for()
            assert page.evaluate("getComputedStyle(document.querySelector('.writing p'), '::after').animationName") == animation
            page.get_by_role("button", name="Stop").click()
