"""`csst` and `python -m csst_jax`: the table of commands, and what an installed package holds."""

import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

from csst_jax import __main__ as commands

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("csst_jax", "data_prep")
    for path in (ROOT / package).rglob("*.py")
    if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
}

FOR_DEVELOPERS = {"csst_jax.settings.reference"}
"""Write files of the repository; a user has no use for them."""


def test_every_command_is_in_the_table():
    """A new module that `python -m` runs gets a line in `csst_jax.__main__.GROUPS`."""
    assert sorted(commands.COMMANDS.values()) == sorted(MODULES - {"csst_jax", *FOR_DEVELOPERS})
    assert "evaluate" in commands.COMMANDS


@pytest.fixture
def chosen(monkeypatch):
    """What was run instead of a command."""
    found = []
    monkeypatch.setattr(commands, "_run", lambda module, flags: found.append((module, flags)) or 0)
    return found


@pytest.mark.parametrize(
    "words,module,flags",
    [
        ("train --config=demo --workdir=w", "csst_jax.main", ["--config=demo", "--workdir=w"]),
        ("prepare --images=a", "data_prep.folder", ["--images=a"]),
        ("prepare camvid --source_dir=s", "data_prep.camvid", ["--source_dir=s"]),
        ("help models", "csst_jax.models", ["--help"]),
        ("models fast_scnn", "csst_jax.models", ["fast_scnn"]),
    ],
)
def test_a_command_is_its_module_with_the_same_flags(chosen, words, module, flags):
    assert commands.main(words.split()) == 0
    assert chosen == [(module, flags)]


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"], ["--helpfull"]])
def test_alone_it_lists_all_commands_with_a_line_each(chosen, capsys, words):
    assert commands.main(words) == 0 and not chosen
    shown = capsys.readouterr().out
    for group, rows in commands.GROUPS.items():
        assert f"\n{group}:\n" in shown
        for name, (_, line) in rows.items():
            assert re.search(rf"^  {name} +{re.escape(line)}$", shown, re.M)
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    "words,near", [("trian --x", "train"), ("prepare camvd", "prepare camvid"), ("check_submission f", "check-submis")]
)
def test_an_unknown_command_is_told_the_nearest(chosen, capsys, words, near):
    assert commands.main(words.split()) == 2 and not chosen
    message = capsys.readouterr().err
    assert message.startswith("error: unknown command") and f"Did you mean '{near}" in message
    assert "Known are: prepare," in message


def test_the_process_is_as_the_modules_own():
    """Its status and its flags, in a process: one fast command that is refused, and one that is not."""
    command = [sys.executable, "-m", "csst_jax"]
    done = subprocess.run([*command, "train", "--config=none"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: --config=none: no such file.")
    done = subprocess.run([*command, "models", "fast_scnn"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "| fast_scnn |" in done.stdout
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("csst_jax")


def test_a_configuration_comes_by_name_from_any_directory(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "csst_jax", "train", "--config=folder:net=fast_scnn", "--workdir=w"]
    done = subprocess.run([*command, "--config.seeed=1"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "unknown configuration key 'seeed'" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What a wheel of this checkout holds, as a directory of site-packages would have it."""
    place = tmp_path_factory.mktemp("wheel")
    copy = place / "source"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    wanted = re.compile(
        r"(csst_jax|configs|data_prep)/|requirements[^/]*\.txt$|pyproject\.toml$|setup\.py$|README\.md$"
    )
    for name in filter(wanted.match, listed):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    program = f"from setuptools import build_meta; print(build_meta.build_wheel({str(place)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        wheel.extractall(place / "site")
    return place / "site"


@pytest.mark.slow
@pytest.mark.essential("an installed package")
def test_a_wheel_claims_no_other_name_and_has_all_that_a_command_needs(installed, tmp_path):
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"csst_jax"}
    for package in ("configs", "data_prep"):
        ours = {path.relative_to(ROOT) for kind in ("py", "txt") for path in (ROOT / package).rglob(f"*.{kind}")}
        there = installed / "csst_jax" / "bundled"
        assert {path for path in ours if not (there / path).is_file()} == set()
    assert (installed / "csst_jax" / "serving" / "page.html").is_file()
    scripts = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "csst = csst_jax.__main__:main" in scripts.read_text(encoding="utf-8")

    # Another package `configs` that some other program installed does no harm.
    (tmp_path / "others" / "configs").mkdir(parents=True)
    (tmp_path / "others" / "configs" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(tmp_path / "others")])}

    def csst(*words):
        program = "import sys; from csst_jax.__main__ import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-P", "-c", program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    done = csst("train", "--config=camvid:fraction=1_8", "--workdir=w", "--config.data.dir=none")
    assert done.returncode == 2 and "data set directory none does not exist" in done.stderr, done.stderr
    assert not (tmp_path / "w").exists()
    done = csst(
        "prepare", "demo", "--data_dir=data", "--num_labelled=2", "--num_unlabelled=1", "--num_val=1", "--num_workers=2"
    )
    assert done.returncode == 0, done.stderr
    done = csst("train", "--config=camvid:fraction=1_8", "--workdir=w", "--config.data.dir=data/synthetic")
    assert done.returncode == 2 and f"{installed}/" in done.stderr, done.stderr  # the list of CamVid's label ids
