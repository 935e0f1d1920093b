"""The playground in a real Chromium: asking, comparing, stopping, and what goes wrong."""

import re
from urllib.parse import parse_qs

import pytest
from playground_server import ask, done


def test_answers_stream_beside_the_card_and_the_picture(tab):
    tab.goto("/#bot=wren&n=3&seed=7")
    expect = ask(tab)
    done(tab, 3)
    answers = tab.locator("#answers li p")
    expect(answers).to_have_text([f"My dream is <b>to</b> sing wren 7 {place}" for place in range(3)])
    expect(tab.locator("#answers li .note")).to_have_text(["", "cut after 160 tokens", "cut after 160 tokens"])
    expect(tab.locator("#answers h3")).to_have_text("wren version 1")
    expect(tab.locator("#card")).to_contain_text("A bot that writes like Wren.")
    expect(tab.get_by_role("img", name="A sample of what wren writes")).to_be_visible()
    assert (
        tab.evaluate("document.getElementById('picture').getContext('2d').getImageData(5, 5, 1, 1).data.join()")
        == "140,33,62,255"
    )
    assert tab.title() == "wren · Mynah"
    tab.get_by_role("button", name="Copy answer 2").click()
    expect(tab.locator("#status")).to_have_text("Copied")
    assert tab.evaluate("navigator.clipboard.readText()") == "My dream is <b>to</b> sing wren 7 1"


def test_what_is_asked_is_what_the_form_says(plain_tab, shop):
    plain_tab.goto("/#bot=wren")
    plain_tab.get_by_text("Settings").click()
    for label, value in {"Answers": "2", "Max tokens": "12", "Temperature": "0.7", "Top-p": "0.5", "Seed": "99"}.items():
        plain_tab.get_by_role("spinbutton", name=label).fill(value)
    ask(plain_tab, "I like")
    done(plain_tab, 2)
    (asked,) = shop[1].asked
    sampling = {"n": 2, "max_tokens": 12, "temperature": 0.7, "top_p": 0.5, "seed": 99}
    assert asked == {"model": "wren", "prompt": "I like", "stream": True, **sampling}


def test_a_setting_out_of_range_is_said_before_anything_is_asked(plain_tab, shop):
    plain_tab.goto("/#bot=wren&temperature=40")
    ask(plain_tab)
    assert plain_tab.evaluate("document.activeElement.name") == "temperature"
    assert shop[1].asked == []


def test_champion_and_challenger_answer_the_same_prompt_with_the_same_seed(tab, shop):
    from playwright.sync_api import expect

    tab.goto("/#bot=wren&n=2")
    tab.get_by_label("Champion beside challenger").check()
    ask(tab)
    done(tab, 4)
    first, second = shop[1].asked
    assert {first.pop("model"), second.pop("model")} == {"wren@champion", "wren@challenger"}
    assert first == second
    expect(tab.locator("#answers h3")).to_have_text(["champion version 1", "challenger version 2"])
    boxes = [section.bounding_box() for section in tab.locator("#answers section").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_a_bot_without_a_challenger_has_nothing_to_compare(plain_tab, shop):
    plain_tab.goto("/#bot=bare&compare=1&n=1")
    ask(plain_tab)
    done(plain_tab, 1)
    assert not plain_tab.get_by_label("Champion beside challenger").is_visible()
    assert [asked["model"] for asked in shop[1].asked] == ["bare"]


def test_a_link_brings_everything_back_and_asks_nothing_by_itself(tab, shop):
    from playwright.sync_api import expect

    tab.goto("/#bot=wren")
    tab.get_by_text("Settings").click()
    tab.get_by_label("Temperature").fill("0.7")
    tab.get_by_label("Champion beside challenger").check()
    ask(tab, "Tea & rain? 50% #1 “ö”\nthen")
    done(tab, 10)
    seed = shop[1].asked[0]["seed"]
    first = tab.locator("#answers li p").all_text_contents()
    tab.get_by_role("button", name="Copy link").click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    link = tab.evaluate("navigator.clipboard.readText()")
    assert parse_qs(link.partition("#")[2])["bot"] == ["wren"]
    shop[1].asked.clear()
    tab.goto("about:blank")
    tab.goto(link)
    expect(tab.get_by_label("Prompt")).to_have_value("Tea & rain? 50% #1 “ö”\nthen")
    expect(tab.get_by_label("Temperature")).to_have_value("0.7")
    expect(tab.get_by_label("Seed")).to_have_value(str(seed))
    expect(tab.get_by_label("Champion beside challenger")).to_be_checked()
    expect(tab.get_by_role("button", name="Ask")).to_be_focused()
    assert shop[1].asked == []
    tab.keyboard.press("Enter")
    done(tab, 10)
    assert tab.locator("#answers li p").all_text_contents() == first


def test_stop_ends_the_answers_and_the_server_sees_it(tab, shop):
    tab.goto("/#bot=wren&n=1")
    expect = ask(tab, "slow")
    expect(tab.locator("#answers li p")).to_contain_text("and and and")
    assert not shop[1].left.is_set()
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#status")).to_have_text(re.compile("^Stopped: 0 of 1 answer,"))
    assert shop[1].left.wait(20)
    expect(tab.get_by_role("button", name="Stop")).to_be_disabled()
    expect(tab.get_by_role("button", name="Ask")).to_be_focused()
    expect(tab.locator("#answers li p")).to_contain_text("slow <b>to</b> and")  # what was written stays


def test_asking_again_replaces_what_is_being_written(plain_tab, shop):
    plain_tab.goto("/#bot=wren&n=1")
    expect = ask(plain_tab, "slow")
    expect(plain_tab.locator("#answers li p")).to_contain_text("and and")
    ask(plain_tab, "quick")
    done(plain_tab, 1)
    assert shop[1].left.wait(20)
    expect(plain_tab.locator("#answers li p")).to_have_text(re.compile("^quick <b>to</b> sing wren"))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("busy", "12 requests are waiting already (try again in 7 s)"),
        ("broken", "The connection broke off before the answers were whole."),
        ("midway", "the server is stopping; try again later"),
    ],
)
def test_the_servers_own_words_are_shown(plain_tab, prompt, said):
    plain_tab.goto("/#bot=wren")
    expect = ask(plain_tab, prompt)
    expect(plain_tab.get_by_role("alert").filter(visible=True)).to_have_text(said)
    expect(plain_tab.locator("#status")).to_have_text(re.compile("^Broken off: 0 of 5 answers"))


def test_a_server_that_is_away_is_said(plain_tab):
    plain_tab.goto("/#bot=wren")
    plain_tab.route("**/openai/**", lambda route: route.abort())
    expect = ask(plain_tab)
    expect(plain_tab.get_by_role("alert").filter(visible=True)).to_have_text("The server can't be reached. Is it still running?")


def test_a_key_is_asked_for_and_kept_only_in_the_tab(tab, shop):
    from playwright.sync_api import expect

    shop[1].key = "s3cret"
    tab.goto("/#bot=wren&n=1")
    expect(tab.get_by_label("API key")).to_be_focused()
    expect(tab.get_by_role("alert").filter(visible=True)).to_contain_text("this server wants an API key")
    tab.keyboard.type("wrong")
    tab.keyboard.press("Enter")
    expect(tab.get_by_label("API key")).to_be_focused()
    tab.get_by_label("API key").fill("s3cret")
    tab.keyboard.press("Enter")
    expect(tab.locator("#card")).to_contain_text("A bot that writes like Wren.")
    expect(tab.get_by_role("img", name="A sample of what wren writes")).to_be_visible()
    ask(tab)
    done(tab, 1)
    assert tab.evaluate("[JSON.stringify(localStorage), document.cookie, location.href.includes('s3cret')]") == ["{}", "", False]
    assert tab.evaluate("JSON.stringify(sessionStorage)") == '{"mynah-key":"s3cret"}'
    tab.reload()  # the tab still knows it
    expect(tab.locator("#card")).to_contain_text("A bot that writes like Wren.")
    shop[1].key = "another"  # while the page is open
    ask(tab)
    expect(tab.get_by_label("API key")).to_be_focused()
    tab.get_by_label("API key").fill("another")
    tab.keyboard.press("Enter")  # asks what was asked
    done(tab, 1)


def test_a_card_that_comes_with_the_first_answer_is_shown_then(plain_tab, bots):
    from playwright.sync_api import expect

    card = next(bot.card for bot in bots if bot.name == "gone")
    plain_tab.goto("/#bot=gone&n=1")
    expect(plain_tab.locator("#card")).to_have_text("gone has no card here yet")
    card.write_text("# gone\n\nBack again.\n")
    try:
        ask(plain_tab)
        expect(plain_tab.locator("#card")).to_contain_text("Back again.")
    finally:
        card.unlink()


def test_what_is_typed_before_the_bots_are_known_stays(plain_tab):
    from playwright.sync_api import expect

    held = []
    plain_tab.route("**/bots.json", lambda route: held.append(route))
    with plain_tab.expect_request("**/bots.json"):
        plain_tab.goto("/#bot=wren&n=1&prompt=I")
    expect(plain_tab.get_by_label("Prompt")).to_have_value("I")
    plain_tab.get_by_label("Prompt").fill("typed early")
    expect(plain_tab.get_by_role("button", name="Ask")).to_be_disabled()
    held[0].continue_()
    ask(plain_tab)
    done(plain_tab, 1)
    expect(plain_tab.locator("#answers li p")).to_contain_text("typed early")
