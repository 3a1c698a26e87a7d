"""What surrounds a run: its configuration on disk, and the processes it joins."""

import json
import logging
import os
import pathlib
import socket
import subprocess
import sys

import jax
import pytest
from ml_collections import ConfigDict

from csst_jax.runtime import startup
from csst_jax.runtime.signals import Preempted
from csst_jax.runtime.startup import join_processes, recorded_config
from csst_jax.types import CsstError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def recorded(workdir):
    return json.loads((workdir / "config.json").read_text(encoding="utf-8"))


def test_the_configuration_lies_beside_the_results_from_the_beginning(tmp_path):
    with recorded_config(ConfigDict({"a": {"b": (1, 2)}}), tmp_path):
        assert recorded(tmp_path) == {"a": {"b": [1, 2]}}
    with recorded_config(ConfigDict({"a": 3}), tmp_path):
        pass
    assert recorded(tmp_path) == {"a": 3}


def test_a_refused_run_leaves_the_configuration_of_the_one_before(tmp_path):
    with recorded_config(ConfigDict({"lr": 0.1}), tmp_path):
        pass
    with pytest.raises(CsstError, match="stale"), recorded_config(ConfigDict({"lr": 0.2}), tmp_path):
        assert recorded(tmp_path) == {"lr": 0.2}
        raise CsstError("stale")
    assert recorded(tmp_path) == {"lr": 0.1}


def test_the_first_run_leaves_its_configuration_even_if_it_is_refused(tmp_path):
    with pytest.raises(CsstError), recorded_config(ConfigDict({"lr": 0.2}), tmp_path):
        raise CsstError("no data")
    assert recorded(tmp_path) == {"lr": 0.2}


# In a process of its own: JAX can be joined once, before its first computation.
JOIN = """
import os, signal, time
def stop(*_):
    print("SIGTERM")
signal.signal(signal.SIGTERM, stop)
from csst_jax.runtime.startup import join_processes
join_processes(os.environ)
import jax
print("joined", jax.distributed.is_initialized(), jax.process_index(), jax.process_count(), jax.local_device_count())
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.5)
"""
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def joining(**environment):
    environment = {**os.environ, **environment}
    return subprocess.Popen([sys.executable, "-c", JOIN], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def output_of(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return output


@pytest.mark.slow
def test_auto_joins_what_jax_finds_and_sigterm_still_reaches_the_run():
    step = {**SLURM, "SLURM_NTASKS": "2", "JAX_COORDINATOR_PORT": free_port(), "CSST_COORDINATOR": "auto"}
    processes = [joining(**step | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)}) for i in range(2)]
    assert [output_of(process) for process in processes] == [f"joined True {i} 2 1\nSIGTERM\n" for i in range(2)]


@pytest.mark.slow
@pytest.mark.essential("start under a scheduler")
def test_named_processes_are_joined_and_what_a_scheduler_says_is_not_asked():
    named = {"CSST_COORDINATOR": f"127.0.0.1:{free_port()}", "CSST_PROCESSES": "1", "CSST_PROCESS_ID": "0"}
    assert output_of(joining(**named, SLURM_NTASKS="2", **SLURM)) == "joined True 0 1 1\nSIGTERM\n"


@pytest.mark.slow
def test_alone_is_alone_whatever_a_scheduler_says():
    assert output_of(joining(SLURM_NTASKS="2", **SLURM)) == "joined False 0 1 1\nSIGTERM\n"


def test_auto_without_a_cluster_is_an_error(monkeypatch):
    # Where nothing is to be found; the test's own process can no longer be joined to others.
    monkeypatch.setattr(jax._src.xla_bridge, "backends_are_initialized", lambda: False)
    with pytest.raises(CsstError, match="CSST_COORDINATOR=auto: JAX finds no TPU slice.*coordinator_address"):
        join_processes({"CSST_COORDINATOR": "auto"})


def test_a_host_of_a_slice_is_not_alone(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(CsstError, match="part of a slice of 4 hosts: set CSST_COORDINATOR=auto"):
        join_processes({})


@pytest.mark.parametrize(
    "environment,message",
    [
        ({"CSST_COORDINATOR": "a:1"}, "KeyError: 'CSST_PROCESSES'"),
        ({"CSST_COORDINATOR": "a:1", "CSST_PROCESSES": "two", "CSST_PROCESS_ID": "0"}, "needs two numbers.*'two'"),
        ({"CSST_COORDINATOR": "a:1", "CSST_PROCESSES": "2", "CSST_PROCESS_ID": "2"}, "CSST_PROCESS_ID=2: give"),
        ({"CSST_COORDINATOR": "a", "CSST_PROCESSES": "2", "CSST_PROCESS_ID": "0"}, "CSST_COORDINATOR=a, .*HOST:PORT"),
    ],
)
def test_what_the_variables_lack_is_told(environment, message):
    with pytest.raises(CsstError, match=message):
        join_processes(environment)


@pytest.fixture
def cache_settings():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("where", ["file", "file/cache", "~nobody-here/cache", "/proc/nothing/cache"])
def test_a_place_for_compiled_programs_that_cannot_be_used_is_a_warning(tmp_path, capsys, where, cache_settings):
    (tmp_path / "file").touch()
    where = where if where[0] in "~/" else str(tmp_path / where)
    before = jax.config.jax_compilation_cache_dir
    startup.start_jax(ConfigDict({"compilation_cache_dir": where}))
    said = capsys.readouterr().err
    assert said.startswith("warning: compiled programs cannot be kept in compilation_cache_dir=") and where in said
    assert jax.config.jax_compilation_cache_dir == before


def test_a_place_for_compiled_programs_is_made(tmp_path, capsys, cache_settings):
    startup.start_jax(ConfigDict({"compilation_cache_dir": str(tmp_path / "a" / "b")}))
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "a" / "b") and not capsys.readouterr().err
    assert not list((tmp_path / "a" / "b").iterdir())


class Answers:
    """JAX's key-value store as the first of two processes uses it; the other one has answered."""

    def __init__(self, monkeypatch, answer):
        self.values = {"csst_jax/cache/1": answer}
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(startup.ocp.multihost, "get_jax_distributed_client", lambda: self)
        self.key_value_set = self.values.__setitem__

    def blocking_key_value_get(self, key, timeout_ms):
        return self.values[key]


@pytest.mark.parametrize(
    "platform,answer,kept", [("gpu", "1", True), ("gpu", "0", False), ("cpu", "0", True), ("tpu", "0", True)]
)
def test_on_gpus_programs_are_kept_where_all_processes_see_them(
    tmp_path, monkeypatch, capsys, cache_settings, platform, answer, kept
):
    Answers(monkeypatch, answer)
    monkeypatch.setattr(startup, "join_processes", lambda environment: None)
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    startup.start_jax(ConfigDict({"compilation_cache_dir": str(tmp_path)}))
    assert jax.config.jax_compilation_cache_dir == (str(tmp_path) if kept else None)
    assert not list(tmp_path.iterdir())
    said = capsys.readouterr().err
    assert not said if kept else "(process 1 does not see what process 0 writes)" in said


def test_a_first_process_without_a_cache_turns_off_the_others(monkeypatch, capsys, cache_settings):
    Answers(monkeypatch, "0")
    jax.config.update("jax_compilation_cache_dir", None)
    startup.keep_shared_programs("gpu")
    assert jax.config.jax_compilation_cache_dir is None and not capsys.readouterr().err


def test_whoever_does_not_see_the_cache_is_named():
    assert startup.not_shared([True, False, True, False]) == [1, 3]
    assert startup.not_shared([True, True]) == []


CACHE = """
import os, sys
from csst_jax.runtime import startup
startup.keep_programs(sys.argv[1])
startup.join_processes(os.environ)
startup.keep_shared_programs("gpu")
import jax
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.slow
@pytest.mark.parametrize("directories,kept", [(("shared", "shared"), True), (("one", "other"), False)])
def test_two_processes_find_out_whether_they_share_a_cache(tmp_path, directories, kept):
    joined = {**os.environ, "CSST_COORDINATOR": f"127.0.0.1:{free_port()}", "CSST_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CACHE, str(tmp_path / name)],
            cwd=ROOT,
            env={**joined, "CSST_PROCESS_ID": str(i)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i, name in enumerate(directories)
    ]
    assert [output_of(process).splitlines()[-1] for process in processes] == [
        str(tmp_path / name) if kept else "None" for name in directories
    ]


@pytest.mark.parametrize("left", ["{", "", '{"a": 1'])
def test_a_configuration_that_was_cut_off_is_written_anew(tmp_path, left, caplog):
    (tmp_path / "config.json").write_text(left)
    with recorded_config(ConfigDict({"lr": 0.2}), tmp_path):
        assert recorded(tmp_path) == {"lr": 0.2}
    assert "config.json was damaged" in caplog.text and "elete" not in caplog.text
    (tmp_path / "config.json").write_text(left)
    with pytest.raises(CsstError, match="stale"), recorded_config(ConfigDict({"lr": 0.2}), tmp_path):
        raise CsstError("stale")


@pytest.mark.parametrize(
    "error,line",
    [(CsstError("no a\nno b"), "error: no a no b"), (Preempted("SIGTERM: all is kept.", 15), "SIGTERM: all is kept.")],
)
def test_what_ends_a_run_is_the_last_line_of_its_log(tmp_path, capsys, error, line):
    handlers = list(logging.getLogger().handlers)
    with pytest.raises(type(error)), startup.logged(tmp_path):
        raise error
    logging.getLogger().handlers[:] = handlers
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()[-1].partition(" ")[2] == line
    assert capsys.readouterr().out == "", "the terminal gets it from who catches it"
