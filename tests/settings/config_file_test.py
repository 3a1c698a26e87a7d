"""A configuration file is a program of the user's: what is wrong with it is told in a line."""

import pathlib
import subprocess
import sys

import pytest

from csst_jax.settings import config_file
from csst_jax.types import CsstError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOOD = "from configs import base\ndef get_config():\n    c = base.get_config()\n    {}\n    return c\n"


def write(tmp_path, text, name="own.py"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    "line", ["c.teacher.epochs = 3", "c.label.scales = (0.5, 1.0)", "c.teacher.lr = c.teacher.lr", "c.lock()"]
)
def test_ones_own_file_is_loaded(tmp_path, line):
    assert config_file.load(write(tmp_path, GOOD.format(line))).student.epochs == 180


@pytest.mark.parametrize(
    "line,key,near",
    [
        ("c.teacher.epoch = 3", "teacher.epoch", "teacher.epochs"),
        ("c.student.sampler.real_shares = 0.5", "student.sampler.real_shares", "student.sampler.real_share"),
        ("c.epochs = 3", "epochs", "epochs"),
        ("c.teacher.optimizer.lion = {'b1': 0.9}", "teacher.optimizer.lion.b1", "b1"),
    ],
)
def test_an_unknown_key_is_an_error_as_on_the_command_line(tmp_path, line, key, near):
    with pytest.raises(CsstError, match=f"own.py sets {key}, an unknown configuration key. Near ones: .*{near}"):
        config_file.load(write(tmp_path, GOOD.format(line)))


@pytest.mark.parametrize(
    "text,name,said",
    [
        ("def get_config(:\n", "own.py", "own.py, line 1: this is not Python: invalid syntax"),
        ("\n  x = 1\n", "own.py", "own.py, line 2: this is not Python: unexpected indent"),
        (b"x = '\xff'\n", "own.py", "own.py.*: this is not Python"),
        (b"x = 1\0\n", "own.py", "own.py.*: this is not Python"),
        ("x = 1\n", "own.py", "does not define get_config. It should look like this:"),
        ("teacher:\n  epochs: 3\n", "own.yaml", "own.yaml: a configuration is a Python file"),
        ('{"teacher": {}}', "own.json", "own.json: a configuration is a Python file"),
        ("def get_config():\n    pass\n", "own.py", "get_config returns nothing"),
        ("def get_config():\n    return {}\n", "own.py", "get_config returns a dict"),
        ("import nosuch\nget_config = nosuch\n", "own.py", "own.py, line 1: ModuleNotFoundError: No module named"),
        (GOOD.format("c.teacher.epochs = 'many'"), "own.py", "own.py, line 4: TypeError: .*epochs.*many"),
        (GOOD.format("c.teecher.epochs = 3"), "own.py", "own.py, line 4: AttributeError: .*teecher"),
        (GOOD.format("open('nosuch')"), "own.py", "own.py.*FileNotFoundError: .*nosuch"),
        (GOOD.format("1 / 0"), "own.py", "own.py, line 4: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, name, said):
    with pytest.raises(CsstError, match=said) as refused:
        config_file.load(write(tmp_path, text, name))
    assert str(refused.value).startswith("--config=")


def test_an_option_that_the_file_does_not_take_is_told(tmp_path):
    with pytest.raises(CsstError, match="own.py: TypeError: get_config.. takes 0 positional arguments"):
        config_file.load(write(tmp_path, GOOD.format("pass")) + ":net=x")


def test_a_directory_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(CsstError, match="it is a directory"):
        config_file.load(str(tmp_path))
    with pytest.raises(CsstError, match="no such file"):
        config_file.load(str(tmp_path / "own.py"))


@pytest.mark.parametrize("chosen", ["studies/table1a", "table1a", "configs/studies/table1a.py"])
def test_a_study_is_told_with_its_command(chosen, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(CsstError, match=f"--config={chosen} is a study, .*`csst study --config=.*table1a.*--workdir"):
        config_file.load(chosen)


def test_studies_are_not_among_the_configurations():
    assert {"folder", "camvid", "paper/table1"} <= set(config_file.names())
    assert not [name for name in config_file.names() if "studies" in name or "table1a" in name]
    with pytest.raises(CsstError, match="no such file.*These come with csst_jax: ") as refused:
        config_file.load("nosuch")
    assert "studies/" not in str(refused.value)


@pytest.mark.parametrize("hiding", ["configs/__init__.py", "configs.py"])
def test_a_package_of_the_same_name_in_the_way_is_named(tmp_path, hiding):
    (tmp_path / hiding).parent.mkdir(exist_ok=True)
    (tmp_path / hiding).touch()
    write(tmp_path, GOOD.format("pass"))
    program = f"import sys; sys.path[1:1] = [{str(ROOT)!r}]; from csst_jax.settings import config_file as f"
    program += "\ntry: f.load('own.py')\nexcept Exception as e: print(type(e).__name__, e)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("CsstError "), done.stdout + done.stderr
    assert f"{tmp_path / hiding} hides the package configs of csst_jax" in done.stdout and "Rename it" in done.stdout
