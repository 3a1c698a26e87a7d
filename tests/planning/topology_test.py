"""Slices by name, and their chips."""

import importlib.util
import os
import subprocess
import sys
import types

import jax
import pytest

from csst_jax.planning import topology
from csst_jax.types import CsstError

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the TPU compiler is not installed (requirements-tpu.txt)"
)
# In a process of its own: the TPU compiler changes the process that it is loaded in.
DESCRIBE = """
import sys
from csst_jax.planning import topology
for name in sys.argv[1:]:
    devices = topology.devices(name)
    chip = topology.chip_of(devices[0])
    print(name, len(devices), len({d.process_index for d in devices}), chip.kind)
"""


def test_local_is_what_jax_has():
    assert topology.devices("local") == jax.devices()
    assert topology.chip_of(jax.devices()[0]) is None


@pytest.mark.parametrize(
    "name", ["v5e", "v5e:", "v5e:4", "v5e:4x4x4", "v4:2x2", "v3:2x2", "v5e:0x4", "4x4", "v5e:4x-4"]
)
def test_what_is_no_slice_is_refused_with_what_there_is(name):
    with pytest.raises(CsstError, match=f"--topology={name}: .*v5e and v6e with 2x2, .*; or v4 and v5p with 2x2x1, "):
        topology.devices(name)


def test_without_the_compiler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        CsstError, match="--topology=v5e:4x4 needs the TPU compiler.*pip install -r requirements-tpu.txt"
    ):
        topology.devices("v5e:4x4")


def test_a_slices_shape_and_host_reach_the_compiler(monkeypatch):
    asked = []

    def describe(platform, topology_name, **options):
        asked.append((platform, topology_name, options))
        return types.SimpleNamespace(devices=["device"] * 8)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(topology.topologies, "get_topology_desc", describe)
    assert all(len(topology.devices(name)) == 8 for name in ("v5e:2x4", "v6e:2x4", "v4:2x2x2"))
    with pytest.raises(CsstError, match="v5e:1x4 gave 8 devices, not one a chip"):
        topology.devices("v5e:1x4")
    assert asked == [
        ("tpu", "v5e:2x4", {"chips_per_host_bounds": (2, 4, 1)}),
        ("tpu", "v6e:2x4", {"chips_per_host_bounds": (2, 4, 1)}),
        ("tpu", "v4:2x2x2", {"chips_per_host_bounds": (2, 2, 1), "chip_config_name": "megacore"}),
        ("tpu", "v5e:1x4", {"chips_per_host_bounds": (1, 2, 1)}),
    ]


@needs_compiler
def test_every_family_has_slices():
    sizes = {"v4:2x2x2": (8, 2), "v5e:1x1": (1, 1), "v5e:2x4": (8, 1), "v5e:4x4": (16, 4)}
    sizes |= {"v5p:2x2x1": (4, 1), "v6e:16x16": (256, 64)}
    environment = os.environ | {
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    command = [sys.executable, "-c", DESCRIBE, *sizes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines()}
    assert found == {name: [str(chips), str(hosts)] for name, (chips, hosts) in sizes.items()}
