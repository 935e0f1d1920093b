"""report.html and blind.html, written and read."""

import re
from html.parser import HTMLParser

from components.evaluate.report_html.pages import write_pages
from tests.code.report_inputs import ReportInputs

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """A page's elements, attributes and words; fails where an element is not closed."""

    def __init__(self, markup):
        super().__init__()
        self.markup, self.open, self.tags, self.attributes, self.words = markup, [], [], [], []
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def pages(tmp_path, inputs=None):
    report, model, data = (inputs or ReportInputs()).write(tmp_path)
    write_pages(report, model, data)
    return tuple(Page((report / f"{name}.html").read_text("utf-8")) for name in ("report", "blind"))


def key_of(blind):
    return re.findall(r"<li value=\"\d+\">(real|generated)</li>", blind.markup)


def texts_of(blind):
    return re.findall(r'<p class="said" dir="auto">([^<]*)</p>', blind.markup)
