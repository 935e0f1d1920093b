"""The report's pages in a real Chromium, with texts that would do harm: nothing runs, nothing is asked for, and all can be used."""

import re
from dataclasses import dataclass, field

import pytest

from components.evaluate.report_html.pages import write_pages
from tests.code.card_inputs import column
from tests.code.report_inputs import METRICS, ReportInputs, check, funnel, verdict

HOSTILE = [
    '</p></q></details><script>document.title="owned"</script><img src="https://evil.example/x" onerror="document.title=\'owned\'">',
    '<style>body{display:none}</style><meta http-equiv="refresh" content="0;url=https://evil.example"><svg onload=alert(1)>',
    "bidi \u202eevil\u202c, a bell \x07, and half a pair \ud800",
    "A" * 5000,
    "emoji 👩‍👩‍👧 🇩🇪, سلام, and Z̸̧̛̗̥͎̖a̷͉͆l̵̡̈́g̸̱̈́o̶͈͗",
    "line one\nline two",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report on a bot that failed, with hostile texts everywhere."""
    inputs = ReportInputs(
        metrics=METRICS | {"memorised_share": 0.3},
        verdict=verdict(check("memorised_share", 0.3, 0.1, False, samples=HOSTILE), check("loss_gain", 1.19, 0.1, at_least=True)),
        samples=[{"prompt": "", "texts": [*HOSTILE, *(f"made up {place}" for place in range(9))]}, {"prompt": HOSTILE[0], "texts": HOSTILE}],
        funnel=funnel(*(column(name) for name in (HOSTILE[0], "a" * 400, "wren"))),
        held_out=[text.replace("\ud800", "") + " real" for text in HOSTILE] + [f"written {place}" for place in range(9)],
    )  # fmt: skip
    folder, model, data = inputs.write(tmp_path_factory.mktemp("report"))
    write_pages(folder, model, data)
    return folder


@dataclass
class Watched:
    """What a page did that it must not."""

    lines: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def follow(self, page):
        page.on("console", lambda line: self.lines.append(line.text))
        page.on("pageerror", lambda error: self.lines.append(str(error)))
        page.on("request", lambda sent: self.asked.append(sent.url))
        page.on("dialog", lambda dialog: (self.lines.append(dialog.message), dialog.dismiss()))


def opened(chromium, folder, name, **options):
    context = chromium.new_context(**options)
    page, watched = context.new_page(), Watched()
    watched.follow(page)
    page.goto(f"{folder.as_uri()}/{name}.html")
    return page, watched


@pytest.mark.parametrize("name", ["report", "blind"])
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_hostile_texts_do_nothing_and_everything_fits(chromium, report, name, width, scheme):
    page, watched = opened(chromium, report, name, color_scheme=scheme, viewport={"width": width, "height": 900})
    for details in page.locator("details").all():
        details.evaluate("(one) => { one.open = true }")
    assert page.title() == {"report": "Evaluation: did not pass · Mynah", "blind": "Real or generated? · Mynah"}[name]
    assert page.locator("img, iframe, main style, main script, main meta").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # no sideways scrolling
    assert page.get_by_text("evil").first.is_visible()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(252, 250, 246)" if scheme == "light" else "rgb(23, 25, 29)")
    assert watched.lines == []  # a violation of the policy would be here
    assert watched.asked == [f"{report.as_uri()}/{name}.html"]
    page.context.close()


def test_the_report_reads_in_a_frame_that_runs_no_script(chromium, report):
    """As MLflow's and Kubeflow's pages show it."""
    context = chromium.new_context()
    page, watched = context.new_page(), Watched()
    page.set_content("<iframe sandbox style='width: 800px; height: 600px'></iframe>")
    watched.follow(page)
    page.locator("iframe").evaluate("(frame, html) => { frame.srcdoc = html }", (report / "report.html").read_text("utf-8"))
    frame = page.frame_locator("iframe")
    frame.get_by_text("Did not pass").wait_for()
    assert frame.get_by_role("img", name=re.compile("Loss by epoch")).is_visible()
    assert watched.lines == []
    context.close()


def answers(page):
    return [line.strip() for line in page.locator(".answers li").all_inner_texts()]


def test_the_sheet_counts_what_was_told_once_each_text_has_an_answer(chromium, report):
    from playwright.sync_api import expect

    page, watched = opened(chromium, report, "blind")
    expect(page.locator("#answers .answers")).to_be_hidden()
    button = page.get_by_role("button", name="Check my answers")
    page.get_by_role("radio", name="Real").first.check()
    button.click()
    expect(page.get_by_role("status")).to_have_text("19 of 20 have no answer yet.")
    assert page.evaluate("document.activeElement.name") == "t2"  # the first without one
    key = [line.text_content().strip() for line in page.locator(".answers li").all()]
    for place, kind in enumerate(key):
        told = kind if place < 16 else {"real": "generated", "generated": "real"}[kind]
        page.get_by_role("group", name=f"Text {place + 1} of 20").get_by_role("radio", name=told.capitalize()).check()
    button.click()
    expect(page.get_by_role("status")).to_have_text(
        "16 of 20 are correct; guessing gives 10. As good or better happens by guessing in 0.6 % of tries."
    )
    expect(page.locator(".result", has_text="✓ it is")).to_have_count(16)
    expect(page.locator(".result", has_text="✗ it is")).to_have_count(4)
    expect(page.locator("#answers .answers")).to_be_visible()
    assert watched.lines == []
    page.context.close()


def test_without_scripts_the_answers_unfold_by_hand(chromium, report):
    from playwright.sync_api import expect

    page, watched = opened(chromium, report, "blind", java_script_enabled=False)
    expect(page.get_by_role("button")).to_have_count(0)
    page.get_by_role("group", name="Text 3 of 20").get_by_role("radio", name="Generated").check()
    expect(page.locator(".answers")).to_be_hidden()
    page.get_by_text("The answers, and what a score means").click()
    expect(page.locator(".answers")).to_be_visible()
    assert sorted(answers(page)) == ["generated"] * 10 + ["real"] * 10
    expect(page.get_by_text("15 or more happen")).to_be_visible()
    assert watched.lines == []
    page.context.close()
