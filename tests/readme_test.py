"""Commands of README.md and docs exist, with their flags, keys and files; every command there is answers --help."""

import ast
import importlib
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from csst_jax import __main__ as csst
from csst_jax.settings import ranges
from csst_jax.studying import study_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "extending.md")  # extending_test.py's
PACKAGES = ("benchmarks", "configs", "csst_jax", "data_prep")
ENTRY_POINTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if re.search(r"^if __name__ == ['\"]__main__['\"]:", path.read_text(encoding="utf-8"), re.M)
)


BLOCK = re.compile(r"^[ ]*```[^\n]*\n(.*?)^[ ]*```", re.M | re.S)
SPAN = re.compile(r"`([^`]+)`")
BEGINNING = re.compile(r"(python -m|make|launch/\S+\.sh) ")


def commands(text):
    """The shell commands of a Markdown text as lists of words, without prompts and comments.

    They are in blocks of code, or spans of code that begin as commands do.
    """
    found = []
    spans = [span for span in SPAN.findall(BLOCK.sub("", text)) if BEGINNING.match(span)]
    for block in [*BLOCK.findall(text), *spans]:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r"&&|;|\|", re.sub(r"(^|\s)#.*", "", line)):
                try:
                    words = shlex.split(part.strip().removeprefix("$ "))
                except ValueError:  # not a command
                    continue
                while words and re.fullmatch(r"[A-Za-z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    found.append(words)
    return found


def python_commands(text):
    """(module, arguments) of every `python -m module arguments`, and of every `csst command arguments`."""
    found = []
    for words in commands(text):
        if len(words) > 2 and re.fullmatch(r"(.*/)?python[0-9.]*", words[0]) and words[1] == "-m":
            found.append((words[2], words[3:]))
        elif len(words) > 1 and re.fullmatch(r"(.*/)?csst", words[0]) and not words[1].startswith("-"):
            name, rest = csst.split(words[1:])
            found.append((csst.COMMANDS.get(name, f"csst {name}"), rest))
    return found


def launcher_commands(text):
    """(script, arguments) of every `launch/script arguments`."""
    return [(words[0], words[1:]) for words in commands(text) if words[0].startswith("launch/")]


def make_targets(text):
    """Every target of a `make target VARIABLE=value`."""
    return [
        word
        for words in commands(text)
        if words[0] == "make"
        for word in words[1:]
        if "=" not in word and not word.startswith("-")
    ]


def defined_flags(module, deep=True):
    """Names of the flags in the source of `module` and of the modules of ours that it imports itself."""
    path = ROOT / module.replace(".", "/")
    path = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__main__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called == "add_argument" and str(node.args[0].value).startswith("--"):
                names.add(node.args[0].value[2:])
            elif called.startswith("DEFINE_"):
                names.add(node.args[0].value)
        if deep and isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES:
            for candidate in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                if (ROOT / (candidate.replace(".", "/") + ".py")).is_file():
                    names |= defined_flags(candidate, deep=False)
    return names


def problems(text):
    """What is wrong with a README's commands, one line each."""
    found = []
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    found += [f"make {target}: no such target" for target in make_targets(text) if target not in targets]
    for module, arguments in python_commands(text):
        if module.startswith("csst "):
            found.append(f"{module}: no such command")
            continue
        if module.split(".")[0] not in PACKAGES:
            if importlib.util.find_spec(module.split(".")[0]) is None:
                found.append(f"python -m {module}: no such module")
            continue
        if module not in ENTRY_POINTS:
            found.append(f"python -m {module}: no such command")
            continue
        known = defined_flags(module)
        for argument in arguments:
            if argument.startswith("--"):
                found += argument_problems(module, known, argument)
    known = defined_flags("csst_jax.main") | {"dry_run", "xpk"}
    for script, arguments in launcher_commands(text):
        if not (ROOT / script).is_file():
            found.append(f"{script}: no such launcher")
        flags = (argument for argument in arguments if argument.startswith("--"))
        found += [problem for flag in flags for problem in argument_problems("csst_jax.main", known, flag)]
    return found


def argument_problems(module, known, argument):
    name, _, value = argument[2:].partition("=")
    if name.startswith("config.") and "config" in known:
        keys = list(ranges.flattened(importlib.import_module("configs.base").get_config()))
        return [] if name.removeprefix("config.") in keys else [f"python -m {module} {argument}: no such key"]
    if name not in known and name.removeprefix("no") not in known:
        return [f"python -m {module} {argument}: no such flag"]
    path, _, options = value.partition(":")
    if name == "config" and module == "csst_jax.study":
        study_file.load(str(ROOT / value) if "/" in path else value)
        return []
    if name == "config" and re.fullmatch(r"(paper/)?\w+", path):  # one of ours, by its name
        path = f"configs/{path}.py"
    if name == "config" and re.fullmatch(r"configs/(paper/)?\w+\.py", path):
        if not (ROOT / path).is_file():
            return [f"python -m {module} {argument}: no such file"]
        get_config = importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config
        get_config(options) if options else get_config()
    return []


def test_the_parser_sees_what_is_wrong():
    text = """
```bash
$ make demo SEED=1   # fine
make dmeo && make test
.venv/bin/python -m data_prep.synthetic --data_dir=data --num_labeled=3
PYTHONPATH=. python3 -m csst_jax.main --config=configs/demo.py \\
    --workdir=w --config.student.epoch=3 --config.student.epochs=4
```
text: make nothing, but `make ready`
   ```
   python -m csst_jax.man --workdir=w
   python -m csst_jax.main --config=configs/none.py --wrkdir=w
   python -m pytest -q
   csst train --config=folder:net=fast_scnn --workdir=w && csst prepare --images=a --mask=b
   csst trian --workdir=w; csst models; csst evaluate --config=nofolder; csst
   launch/here.sh --workdir=w --config.sed=1
   ```
"""
    assert problems(text) == [
        "make dmeo: no such target",
        "make ready: no such target",
        "python -m data_prep.synthetic --num_labeled=3: no such flag",
        "python -m csst_jax.main --config.student.epoch=3: no such key",
        "python -m csst_jax.man: no such command",
        "python -m csst_jax.main --config=configs/none.py: no such file",
        "python -m csst_jax.main --wrkdir=w: no such flag",
        "python -m data_prep.folder --mask=b: no such flag",
        "csst trian: no such command",
        "python -m csst_jax.evaluate --config=nofolder: no such file",
        "launch/here.sh: no such launcher",
        "python -m csst_jax.main --config.sed=1: no such key",
    ]
    assert make_targets(text) == ["demo", "dmeo", "test", "ready"]


@pytest.mark.parametrize(
    "page,module",
    [
        ("networks", "csst_jax.import_weights"),
        ("datasets", "data_prep.cityscapes"),
        ("export", "csst_jax.export"),
        ("pods", "csst_jax.plan"),
        ("predict", "csst_jax.predict"),
        ("testing", "tests.processor_time"),
        ("own_images", "data_prep.folder"),
        ("camvid", "data_prep.inspect_sampling"),
        ("cost", "csst_jax.plan"),
        ("scores", "csst_jax.check_submission"),
        ("zoo", "csst_jax.models"),
    ],
)
def test_the_docs_show_commands(page, module):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert module in {found for found, _ in python_commands(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_in_the_docs_exists(page):
    assert problems(page.read_text(encoding="utf-8")) == []


def test_every_command_in_the_readme_exists():
    text = README.read_text(encoding="utf-8")
    assert "demo" in make_targets(text), "README.md shows `make demo` in a code block"
    assert "csst_jax.main" in {module for module, _ in python_commands(text)}
    assert problems(text) == []


def test_make_help_explains_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY:(.*)", makefile, re.M).group(1).split())
    explained = set(re.findall(r"'make ([a-z-]+) ", makefile))
    assert explained == phony - {"help"}


def test_there_are_commands():
    assert {"csst_jax.main", "data_prep.camvid", "data_prep.synthetic"} <= set(ENTRY_POINTS)


@pytest.mark.slow
@pytest.mark.essential("every command's help")
@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_help_names_the_flags_that_the_readme_uses(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown
    used = {
        argument[2:].partition("=")[0].partition(".")[0]
        for page in (README, *PAGES)
        for name, arguments in python_commands(page.read_text(encoding="utf-8") if page.is_file() else "")
        if name == module
        for argument in arguments
        if argument.startswith("--")
    }
    missing = {flag for flag in used if not re.search(rf"--(\[no\])?{flag}\b", shown)}
    assert not missing, f"python -m {module} --help does not show {missing}"
