"""A written report as tests read it."""

import html.parser

from csst_jax import report


class Page(html.parser.HTMLParser):
    """Tables by section as lists of rows of cell texts, links, text, and a check that tags are closed in order."""

    VOID = ("meta", "img", "input", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.tables, self.links, self.open, self.text, self.sections = [], [], [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "section":
            self.sections.append(found["id"])
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def head(workdir):
    """The first paragraphs."""
    return " ".join(read(report.write_report(workdir)).text.partition("The stages")[0].split())
