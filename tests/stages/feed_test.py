"""A step's crops are described, whichever process asks."""

import types

import jax

from csst_jax.samplers.uniform import UniformImageSampler
from csst_jax.stages import feed as feeds
from csst_jax.stages.feed import Feed
from csst_jax.streams import LABELLED
from csst_jax.types import Phase


def test_the_crops_of_all_processes_are_described(monkeypatch):
    monkeypatch.setattr(feeds.sampling, "readers", lambda _: [types.SimpleNamespace(describe="image {}".format)])
    training = types.SimpleNamespace(streams=[LABELLED], sampling=types.SimpleNamespace(scale_range=(1.0, 1.0)))
    sampler = UniformImageSampler([(0, record, 96, 128) for record in range(8)])
    feed = Feed(training, {}, {"labelled": sampler}, [Phase(32, 8, 2)], 0, None)
    alone = feed.described(1)
    assert len(alone) == 8 and all(words.startswith("image ") and " at (" in words for words in alone)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert feed.described(1) == alone
