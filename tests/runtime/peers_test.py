"""What processes tell each other."""

import jax
import numpy as np

from csst_jax.runtime import peers


def test_counts_of_one_process_are_its_own():
    own = np.array([3, 2**40, -1])
    found = peers.counts_of_all(own)
    assert found.dtype == np.int64 and found.tolist() == [own.tolist()]


def test_counts_of_several_processes_keep_all_their_bits(monkeypatch):
    """As JAX gathers in 32-bit mode, with the rows of two processes."""
    other = np.array([7, 2**50, 5])

    def gather(own):
        return np.asarray(jax.numpy.stack([own, other.view(np.uint8)]))

    monkeypatch.setattr(peers.multihost_utils, "process_allgather", gather)
    monkeypatch.setattr(peers.jax, "process_count", lambda: 2)
    found = peers.counts_of_all(np.array([1, 2**40, 2]))
    assert found.tolist() == [[1, 2**40, 2], other.tolist()]
