"""Writes docs/configuration.md from configs/base.py: `python -m csst_jax.settings.reference`.

A table of what configs/folder.py changes comes first.

A blank line separates groups of keys. The comment in front of a group begins with its title; what follows says what the
group is for. A comment in front of a later key, or behind it, is that key's own. Keys of a method, a sampler or an
optimizer have the meaning that the docstring of their dataclass gives. Allowed values come from `ranges`.
"""

from __future__ import annotations

import ast
import dataclasses
import io
import re
import sys
import tokenize
from typing import TYPE_CHECKING

from csst_jax.arguments import Parser
from csst_jax.methods import METHODS
from csst_jax.runtime.storage import checkout
from csst_jax.samplers import SAMPLERS
from csst_jax.settings import config_file, ranges
from csst_jax.settings.kinds import OneOf
from csst_jax.settings.sizes import OPEN
from csst_jax.train import OPTIMIZERS
from csst_jax.types import CsstError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Mapping, Sequence

SOURCE, PAGE = "configs/base.py", "docs/configuration.md"
_MORE, _CALL = "configs/_methods.py", "    _methods.add(c)\n"
_COMMAND = "python -m csst_jax.settings.reference"
_SECTIONS = {
    "get_config": ("Keys of a run", "", ""),
    "training": (
        "Keys of a training stage",
        "`teacher` and `student` hold these keys: `--config.teacher.epochs=90`. Defaults are those of the paper, §4.2, "
        "unless the text says otherwise.",
        "teacher.",
    ),
    "prediction": (
        "Keys of a prediction",
        "`label` and `evaluate` hold these keys, which say how an image is predicted: `--config.evaluate.flip=True`.",
        "evaluate.",
    ),
}
_FOREWORD = f"""# Configuration

`{_COMMAND}` writes this page from `{SOURCE}`. Do not edit it.

`{SOURCE}` defines every key. The other files in `configs` start from it and change a few. Override any key on the
command line: `--config=configs/camvid.py --config.student.epochs=90`. An unknown key is an error that names similar
keys. A value that is not allowed is an error that says what is allowed. `config.json` in a workdir holds the resolved
configuration of a run."""
_FOLDER = f"""## What `configs/folder.py` changes

`configs/folder.py` is for [your own images](own_images.md). These values differ from the defaults below. {OPEN} in the
size of a stage means that the run chooses the size from the images and the machine."""
_LONG = 8  # choices beyond which a row does not list them


@dataclasses.dataclass
class Row:
    """A key, or a block of them: `default` is None for a block."""

    key: str
    default: str | None
    meaning: str


@dataclasses.dataclass
class Group:
    """Keys that stand together."""

    title: str
    text: str
    rows: list[Row]


def document(root: pathlib.Path) -> str:
    """The page of a checkout."""
    folder = "\n\n".join((_FOLDER, changes(ranges.flattened(config_file.load("folder")))))
    return page(source(root), (folder,), attributes(root))


def changes(values: Mapping[str, object]) -> str:
    """A table of the keys that have other values than the defaults; one row for a key of both stages."""
    known = ranges.known_keys()
    differ = {key: value for key, value in values.items() if value != known[key]}
    lines = ["| key | default | value |", "| --- | --- | --- |"]
    for key, value in differ.items():
        stage, _, rest = key.partition(".")
        other = {"teacher": "student", "student": "teacher"}.get(stage)
        same = other is not None and differ.get(f"{other}.{rest}") == value and known[f"{other}.{rest}"] == known[key]
        if same and stage == "student":
            continue
        keys = f"`{key}`, `{other}.{rest}`" if same else f"`{key}`"
        lines.append(f"| {keys} | {_shown(known[key])} | {_shown(value)} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return "empty" if value == "" else f"`{value!r}`"


def attributes(root: pathlib.Path) -> dict[str, str]:
    """Meaning of each key that a method, a sampler or an optimizer has, from the docstring of its dataclass."""
    found = {}
    for block, known in {"method": METHODS, "sampler": SAMPLERS, "optimizer": OPTIMIZERS}.items():
        for name, path in known.items():
            module, _, attribute = path.partition(":")
            text = (root / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
            chosen = _class(ast.parse(text), attribute)
            fields = chosen if block == "optimizer" else _class(chosen, "Settings")
            listed = (ast.get_docstring(fields) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
            for key, meaning in re.findall(r"^  (\w+): (.*(?:\n    .*)*)", listed, re.M):
                found[f"{block}.{name}.{key}"] = " ".join(meaning.removesuffix(".").split())
    return found


def _class(parent: ast.Module | ast.ClassDef, name: str) -> ast.ClassDef:
    """The class of this name; of a class without its own `Settings`, an empty one."""
    found = [node for node in parent.body if isinstance(node, ast.ClassDef) and node.name == name]
    return found[0] if found else ast.ClassDef(name=name, bases=[], keywords=[], body=[], decorator_list=[])


def page(text: str, first: Sequence[str] = (), meanings: Mapping[str, str] | None = None) -> str:
    """The page of a configuration's source.

    Args:
      text: the source.
      first: sections in front of the keys.
      meanings: by key, for keys without a comment.
    """
    lines, comments = text.splitlines(), _comments(text)
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    parts, known = [_FOREWORD, *first], meanings or {}
    for name, (title, about, prefix) in _SECTIONS.items():
        parts += [f"## {title}", *filter(None, [about])]
        for group in _groups(functions[name], lines, comments):
            heading = f"### {group.title}" if group.title else ""
            rows = [dataclasses.replace(row, meaning=row.meaning or known.get(row.key, "")) for row in group.rows]
            parts += [*filter(None, (heading, _linked(group.text))), _table(rows, prefix)]
    return "\n\n".join(parts) + "\n"


def _comments(source: str) -> dict[int, str]:
    """Text of each line's comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _groups(function: ast.FunctionDef, lines: Sequence[str], comments: Mapping[int, str]) -> Iterator[Group]:
    """The groups of keys that a function sets."""
    group: Group | None = None
    for node in function.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        first = node.lineno
        while lines[first - 2].lstrip().startswith("#"):
            first -= 1
        before = " ".join(comments[line] for line in range(first, node.lineno))
        behind = comments.get(node.end_lineno or node.lineno, "")
        if group is None or not lines[first - 2].strip():
            if group is not None and group.rows:
                yield group
            title, _, text = before.partition(". ")
            group, before = Group(title.rstrip("."), text, []), ""
        group.rows += _rows(node, " ".join(filter(None, (before, behind))))
    if group is not None and group.rows:
        yield group


def _rows(node: ast.Assign, meaning: str) -> Iterator[Row]:
    key = ast.unparse(node.targets[0]).partition(".")[2]
    value = node.value
    if not isinstance(value, ast.Call):
        yield Row(key, ast.unparse(value), meaning)
    elif value.args and isinstance(value.args[0], ast.Dict):
        yield Row(key, None, meaning)
        for name, each in zip(value.args[0].keys, value.args[0].values, strict=True):
            assert name is not None, "{**other} names no key"
            yield Row(f"{key}.{ast.literal_eval(name)}", ast.unparse(each), "")


def _table(rows: Sequence[Row], prefix: str) -> str:
    lines = ["| key | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        allowed = "" if row.default is None else _allowed(prefix + row.key)
        default = {None: "", "''": "empty"}.get(row.default, f"`{row.default}`")
        lines.append(f"| `{row.key}` | {default} | {allowed} | {_linked(row.meaning.replace('|', '&#124;'))} |")
    return "\n".join(lines)


def _linked(text: str) -> str:
    """Paths of other pages become links."""
    return re.sub(r"docs/([\w/-]+\.md)", r"[\1](\1)", text)


def _allowed(key: str) -> str:
    """What a key can be, in words; empty where the type of the settings says it."""
    kind = ranges.ALL.get(key)
    if kind is None:
        return ""
    if isinstance(kind, OneOf):
        return "a name" if len(kind.known) > _LONG else ", ".join(f"`{value}`" for value in kind.known)
    return kind.words(None).removeprefix("give ").replace("|", "&#124;")


def source(root: pathlib.Path) -> str:
    """The source of a checkout's configuration, with what it takes from a second file in the place of the call."""
    base, more = ((root / name).read_text(encoding="utf-8") for name in (SOURCE, _MORE))
    return base.replace(_CALL, more.partition('"""Adds a block for each to a training stage."""\n')[2])


def write(root: pathlib.Path) -> pathlib.Path:
    """Writes a checkout's page, and returns where it is."""
    path = root / PAGE
    path.write_text(document(root), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    Parser("csst_jax.settings.reference", __doc__).parse_args(arguments)
    try:
        root = checkout()
        if root is None:
            raise CsstError(f"{PAGE} is part of a checkout of csst_jax, and this is an installed package.")
        print(f"wrote {write(root)}")
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
