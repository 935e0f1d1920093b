"""The playground in a real Chromium: choosing one bot among thousands."""

from playground_server import ask, open_tab


def test_one_bot_among_thousands_is_found_by_typing(chromium, aviary):
    from playwright.sync_api import expect

    with open_tab(chromium, aviary) as page:
        page.goto("/")
        box = page.get_by_role("combobox", name="Bot")
        expect(box).to_have_value("bare")  # the first
        box.click()
        options = page.get_by_role("option")
        expect(options).to_have_count(50)
        expect(page.locator("#count")).to_have_text("50 of 3,004 shown; type to find others")
        box.fill("bird-299")
        expect(options).to_have_count(10)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("option", selected=True)).to_have_text("bird-2992 version 1")
        assert box.get_attribute("aria-activedescendant") == page.get_by_role("option", selected=True).get_attribute("id")
        page.keyboard.press("Enter")
        expect(box).to_have_value("bird-2992")
        expect(page.locator("#popup")).to_be_hidden()
        box.fill("zzz")
        expect(page.locator("#count")).to_have_text("No bot has “zzz” in its name.")
        page.keyboard.press("Escape")
        expect(box).to_have_value("bird-2992")
        box.fill("wr")
        page.get_by_role("option", name="wren").click()
        expect(page.locator("#card")).to_contain_text("A bot that writes like Wren.")
        assert page.wrong == []


def test_a_link_to_a_bot_that_is_not_there_says_so(plain_tab, shop):
    expect = None
    plain_tab.goto("/#bot=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    expect = ask(plain_tab)
    expect(plain_tab.get_by_role("alert").filter(visible=True)).to_have_text(
        "There is no bot named “<img src=x onerror=alert(1)>” here."
    )
    assert (shop[1].asked, plain_tab.wrong) == ([], [])
