"""Starting: what is wrong with a command line is told before anything slow is imported."""

import pathlib
import subprocess
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from csst_jax import command_line
from csst_jax.arguments import Parser
from csst_jax.types import CsstError

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = {"jax", "flax", "optax", "orbax", "clu", "tensorflow", "tensorflow_datasets", "scipy"}
PROGRAM = """
import runpy, sys
sys.argv = ["main", *{arguments!r}]
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("status", end.code)
print("slow", *sorted({slow!r} & set(sys.modules)))
"""


COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("csst_jax", "data_prep")
    for path in (ROOT / package).rglob("*.py")
    if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


def start(module, arguments):
    program = PROGRAM.format(module=module, arguments=arguments, slow=SLOW)
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)


def test_there_are_commands():
    assert {"csst_jax.main", "csst_jax.models", "data_prep.check"} <= set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [pytest.param(m, marks=pytest.mark.essential("--help")) if m == "csst_jax.main" else m for m in COMMANDS],
)
def test_help_imports_nothing_slow(module):
    done = start(module, ["--help"])
    assert done.stdout.splitlines()[-2:] == ["status 0", "slow"], done.stdout + done.stderr
    assert module.removeprefix("csst_jax.").removeprefix("data_prep.") in done.stdout


@pytest.mark.parametrize("module", ["csst_jax.main", "csst_jax.report", "data_prep.check", "data_prep.folder"])
def test_full_help_has_every_key_of_a_configuration(module):
    done = start(module, ["--helpfull"])
    assert done.stdout.splitlines()[-2:] == ["status 0", "slow"], done.stdout + done.stderr
    key = "--config.teacher.crop_px=800  (a whole number of at least 1, or -1 for a number that fits the data"
    assert (key in done.stdout) == (module in ("csst_jax.main", "data_prep.check"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=none.py"],
        ["--config=configs/demo.py", "--workdir=w", "--config.sede=1"],
        ["--config=configs/demo.py", "--workdir=w", "--config.student.epoch=1"],
    ],
)
def test_mistakes_are_told_before_anything_slow_is_imported(arguments):
    done = start("csst_jax.main", arguments)
    assert done.stdout.splitlines()[-2:] == ["status 2", "slow"], done.stderr
    assert "Traceback" not in done.stderr


def test_a_workdir_on_unknown_object_storage_is_refused_before_anything_slow_is_imported():
    done = start("csst_jax.main", ["--config=configs/demo.py", "--workdir=s3://bucket/run"])
    assert done.stdout.splitlines()[-2:] == ["status 2", "slow"], done.stderr
    assert done.stderr.startswith("error: --workdir=s3://bucket/run: gs:// is the only object storage")


def test_importing_the_package_imports_nothing_slow():
    program = f"import csst_jax, sys; print(*sorted({SLOW} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout == "\n"


DEMO = "configs/demo.py"


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        command_line.parse_flags(["main", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "argument,said",
    [
        ("config.teacher.crop_px=0", "Did you mean --config.teacher.crop_px=0?"),
        ("—config.teacher.epochs=3", "Did you mean --config.teacher.epochs=3?"),
        ("workdir=runs/a", "Did you mean --workdir=runs/a?"),
        ("runs/a", "'runs/a' is not a flag"),
        ("noconfig.teacher.remat", "'noconfig.teacher.remat' is not a flag"),
    ],
)
def test_an_argument_without_its_dashes_is_refused_by_name(capsys, monkeypatch, argument, said):
    message = refused_with_flags(capsys, monkeypatch, f"--config={DEMO}", "--workdir=w", argument)
    assert f"{argument!r} is not a flag" in message and said in message


@pytest.mark.parametrize(
    "argument,said",
    [
        ("--config.evaluate.flip=ja", "evaluate.flip is 'ja'; give True or False."),
        ("--config.teacher.epochs=1.5", "teacher.epochs is '1.5'; give a whole number of at least 0."),
        ("--config.teacher.lr.base=1,5", "teacher.lr.base is '1,5'; give a number above 0."),
        (
            "--config.teacher.method.unimatch.cutmix=x",
            "teacher.method.unimatch.cutmix is 'x'; give a number from 0 to 1.",
        ),
        ("--confg.seed=1", "there is no flag --confg.seed. Did you mean --config.seed?"),
        ("--workdr=w", "there is no flag --workdr. Did you mean --workdir?"),
        ("--qqqqqqqq=1", "there is no flag --qqqqqqqq. --help lists all."),
    ],
)
def test_a_wrong_flag_is_told_in_plain_words(capsys, monkeypatch, argument, said):
    message = refused_with_flags(capsys, monkeypatch, f"--config={DEMO}", "--workdir=w", argument)
    assert message.startswith("error: ") and said in message and "(" not in message.partition(said)[0]


def test_a_misspelt_flag_of_argparse_is_told_with_a_near_one(capsys):
    parser = Parser("csst_jax.plan", None)
    parser.add_argument("--config")
    parser.add_argument("--data_dir")
    with pytest.raises(SystemExit):
        command_line.parse_own(parser, ["--data-dir=x"])
    assert "there is no flag --data-dir. Did you mean --data_dir?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command_line.parse_own(parser, ["--config.seed=1"])
    assert "--config.seed=1 sets a key of a configuration, and --config is missing" in capsys.readouterr().err


def test_a_flag_that_is_missing_is_told_with_what_it_is(capsys, monkeypatch):
    message = refused_with_flags(capsys, monkeypatch, f"--config={DEMO}", needs=True)
    assert message == "error: --workdir is missing. Where the run is kept.\n"


def test_a_wrong_switch_is_told_by_commands_with_flags_of_argparse():
    with pytest.raises(CsstError, match=r"^evaluate.flip is 'ja'; give True or False\.$"):
        command_line.with_overrides("demo", ["--config.evaluate.flip=ja"])


def refused_with_flags(capsys, monkeypatch, *arguments, needs=False):
    """With flags of main's own, whatever another test has defined."""
    own = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Where the run is kept.", flag_values=own, required=needs)
    config_flags.DEFINE_config_file("config", None, "", flag_values=own, sys_argv=["main", *arguments])
    monkeypatch.setattr(command_line.flags, "FLAGS", own)
    return refused(capsys, *arguments)


def test_a_configuration_after_a_space_is_understood(capsys, monkeypatch):
    message = refused_with_flags(
        capsys, monkeypatch, "--config", DEMO, "--workdir", "w", "--config.teacher.epochs", "-1"
    )
    assert message == "error: teacher.epochs is -1; give a whole number of at least 0.\n"


@pytest.mark.parametrize("arguments", [["--config"], ["--config="], ["--config", "--workdir=w"], []])
def test_a_configuration_that_is_missing_is_told(capsys, arguments):
    assert "--config is missing" in refused(capsys, *arguments)


@pytest.mark.parametrize("config", [[f"--config={DEMO}"], ["--config", DEMO]])
def test_keys_before_the_configuration_are_told_the_order(capsys, config):
    message = refused(capsys, "--config.data.dir=d", *config, "--workdir=w")
    assert f"--config.data.dir=d comes before --config={DEMO}; put --config first" in message


def test_a_value_out_of_range_is_told_by_every_command_that_takes_a_configuration(capsys):
    parser = Parser("csst_jax.plan", None)
    parser.add_argument("--config")
    with pytest.raises(CsstError, match="label.shard_size is 0; give a whole number of at least 1"):
        command_line.parse_with_config(parser, [f"--config={DEMO}", "--config.label.shard_size=0"])
    with pytest.raises(SystemExit):
        command_line.parse_with_config(parser, [f"--config={DEMO}", "config.label.shard_size=1"])
    assert "Did you mean --config.label.shard_size=1?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting", ["evaluate.scales=()", "label.shard_size=0", "teacher.augment.scale_min=3.0", "student.lr.base=-1"]
)
def test_a_refused_value_leaves_nothing_behind(tmp_path, setting):
    done = start("csst_jax.main", [f"--config={DEMO}", f"--workdir={tmp_path / 'w'}", f"--config.{setting}"])
    assert done.stdout.splitlines()[-2:] == ["status 2", "slow"], done.stderr
    assert f"error: {setting.partition('=')[0]} is " in done.stderr and not list(tmp_path.iterdir())
