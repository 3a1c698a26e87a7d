"""What a process runs on."""

import jax

from csst_jax.runtime.machine import Machine, host_memory_bytes, num_cores, this_machine


def test_this_machine_has_devices_memory_and_cores():
    found = this_machine()
    assert (found.platform, found.devices, found.cores) == ("cpu", jax.device_count(), num_cores())
    assert 0 < found.memory_bytes <= host_memory_bytes() // jax.device_count()
    assert found.words.startswith("a CPU of ")


def test_a_container_has_its_limit(tmp_path):
    physical = host_memory_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert host_memory_bytes(tmp_path) == 2**30
    for unlimited in ("max\n", f"{2**62}\n"):
        (tmp_path / "memory.max").write_text(unlimited)
        assert host_memory_bytes(tmp_path) == physical


def test_words_count_devices():
    assert Machine("gpu", 1, 2**34, 8).words == "1 GPU of 16 GiB"
    assert Machine("cpu", 1, 2**34, 1).words == "a CPU of 1 core and 16 GiB"
    assert Machine("tpu", 16, None, 8).words == "16 TPUs of unknown memory"
