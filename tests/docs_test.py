"""Pages of the documentation: links lead somewhere, the site lists all of them, and generated ones are current."""

import argparse
import ast
import json
import pathlib
import re

import pytest
import yaml

from benchmarks import results_pages
from csst_jax.settings import ranges, reference
from tests import faults, sharding

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READABLE = [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES]


def named(path):
    return path.relative_to(ROOT).as_posix()


def without_code(text):
    """A page without blocks and spans of code, in which brackets are no links."""
    text = re.sub(r"^[ ]*```.*?^[ ]*```", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def links(text):
    """Targets of all links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", without_code(text))


def anchors(text):
    """Names that the headings of a page have, as GitHub and the site's generator make them."""
    text = re.sub(r"^[ ]*```.*?^[ ]*```", "", text, flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)", text, re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


def broken(page):
    """Links of a page that lead nowhere; those to other sites are not followed."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            found.append(f"{link}: no such file")
        elif page.is_relative_to(DOCS) and not target.is_relative_to(DOCS):
            found.append(f"{link}: the site has docs/ alone")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{link}: no such heading")
    return found


def test_the_check_sees_what_is_broken(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One title\n[a](page.md#one-title) [b](#one-title) [c](none.md) [d](#two) `[e](f.md)` [g](https://h.org)\n"
        "```\n# two\n[i](j.md)\n```\n![k](none.png)\n"
    )
    assert broken(page) == ["none.md: no such file", "#two: no such heading", "none.png: no such file"]


@pytest.mark.parametrize("page", READABLE, ids=named)
def test_links_lead_somewhere(page):
    assert broken(page) == []


def listed(entries):
    """Pages of a navigation."""
    for entry in entries:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            yield from listed(value) if isinstance(value, list) else [value]


def test_the_site_lists_every_page_once():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(listed(nav)) == [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("folder", ["", "adr", "results"])
def test_an_index_leads_to_every_page_of_its_folder(folder):
    index = DOCS / folder / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index.read_text(encoding="utf-8"))}
    assert {page for page in PAGES if page.parent == index.parent} - {index} <= linked


def test_the_configuration_has_every_key_and_is_current():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert text == reference.document(ROOT), reference._COMMAND
    shown = set(re.findall(r"^\| `([\w.]+)` \| [^|]", text, re.M))
    for key, value in ranges.known_keys().items():
        stage, _, rest = key.partition(".")
        own = rest if stage in ("teacher", "student") else key
        own = rest if stage in ("label", "evaluate") and rest in ranges.PREDICTION else own
        assert own in shown, f"{key} = {value}"


def test_the_configuration_has_what_the_folders_file_changes():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = text.partition("## What `configs/folder.py` changes")[2].partition("\n## ")[0]
    assert "| `label.lower_of_two` | `False` | `True` |" in rows
    assert "| `teacher.batch_size`, `student.batch_size` | `16` | `-1` |" in rows
    assert "| `student.method.name` | `'supervised'` | `'real_and_pseudo'` |" in rows
    assert "`seed`" not in rows and "`teacher.method.name`" not in rows


def test_every_key_of_a_method_sampler_or_optimizer_has_a_meaning():
    """Each comes from the docstring of a dataclass, and starts with what the number is: *weight of*, not *of*."""
    known = {key.removeprefix("teacher.") for key in ranges.known_keys() if key.startswith("teacher.")}
    own = {key for key in known if re.match(r"(method|sampler|optimizer)\.\w+\.\w+$", key)}
    meanings = reference.attributes(ROOT)
    assert len(own) > 90 and own == set(meanings)
    assert {key: text for key, text in meanings.items() if re.match(r"(of|likewise)\b", text)} == {}
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert "a number of at least 0 | weight of the loss on pseudo labels |" in text


def test_comments_in_front_of_keys_behind_them_and_in_front_of_groups_are_told_apart():
    source = """def training():
    c = ConfigDict()
    # A group. It has two keys.
    c.width = 1.0  # behind
    # In front,
    # on two lines.
    c.name = ""

    # Another.
    c.block = ConfigDict()
    c.block.one = ConfigDict({"a": 1 / 2})  # of | a, see docs/adr/0004-ohem.md
    return c


def prediction():
    pass


def get_config():
    pass
"""
    shown = reference.page(source).partition("## Keys of a training stage")[2].partition("\n## ")[0].splitlines()
    assert [line for line in shown[3:] if line and not line.startswith("| ---")] == [
        "### A group",
        "It has two keys.",
        "| key | default | allowed | meaning |",
        "| `width` | `1.0` | a number above 0 | behind |",
        "| `name` | empty |  | In front, on two lines. |",
        "### Another",
        "| key | default | allowed | meaning |",
        "| `block.one` |  |  | of &#124; a, see [adr/0004-ohem.md](adr/0004-ohem.md) |",
        "| `block.one.a` | `1 / 2` |  |  |",
    ]


@pytest.mark.parametrize("page", [page for page in READABLE if page.stem not in ("extending", "CHANGELOG")], ids=named)
def test_files_that_pages_name_are_there(page):
    """By their path from the root, or from csst_jax or tests, where most are."""
    spans = re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|sh|md))`", page.read_text(encoding="utf-8"))
    rooms = (ROOT, ROOT / "csst_jax", ROOT / "tests")
    assert [file for file in spans if not any((room / file).exists() for room in rooms)] == []


def test_the_readme_fits_on_few_screens_and_its_results_are_those_of_the_pages():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    rows = re.findall(r"^\| \[[^]]+\]\((docs/results/\w+\.md)\).* \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    assert len(rows) == 8
    for page, *figures in rows:
        lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
        cells = [set(line.strip("| ").split(" | ")) for line in lines]
        assert any(set(figures) <= row for row in cells), page


def said():
    """Every text in the code; "\0" stands for what is filled in."""
    for package in ("csst_jax", "data_prep"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_messages_in_troubleshooting_are_those_of_the_code():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    symptoms = " ".join(re.findall(r"^\| (.*?) \| ", text, re.M))
    quoted = [span for span in re.findall(r"`([^`]+)`", symptoms) if " " in span]
    assert len(quoted) > 20
    texts = "\n".join(said())
    parts = {part.strip() for span in quoted for part in span.split("...")}
    assert {part for part in parts if part not in texts} == set()


def helps():
    """(file, text) of every flag's help."""
    for package in ("csst_jax", "data_prep", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
                    yield path.name, node.value.value


def test_help_says_what_a_flag_is():
    """Read alone: *name of the log*, and neither *of the log* nor a default by itself."""
    found = list(helps())
    assert len(found) > 100
    vague = re.compile(r"(of|that|its|default:|[\d,]+ by default|the study's own) ?")
    assert [(file, text) for file, text in found if vague.match(text)] == []


@pytest.mark.parametrize("page", results_pages.PAGES, ids=lambda page: page.name)
def test_pages_of_runs_are_what_their_command_writes(page):
    assert (DOCS / "results" / f"{page.name}.md").read_text(encoding="utf-8") == page.text()


@pytest.mark.parametrize("name,module", [("faults", faults), ("faults_methods", faults), ("sharding", sharding)])
def test_tables_of_tests_are_what_their_logs_give(name, module):
    table, log = DOCS / "results" / f"{name}.md", DOCS / "results" / "logs" / f"{name}.jsonl"
    text = table.read_text(encoding="utf-8")
    asked = dict(re.findall(r"--(\w+)=(\d+)", text.partition("([log]")[0]))
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert text == module.page(events, argparse.Namespace(**asked, log=str(log), table=str(table)))
