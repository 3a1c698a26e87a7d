"""The mesh."""

import jax
import numpy as np
import pytest

from csst_jax.train.sharding import batch_shardings, make_mesh
from csst_jax.types import CsstError


def test_spatial_neighbours_are_neighbours_among_the_devices():
    mesh = make_mesh(jax.devices()[:8], 2)
    assert dict(mesh.shape) == {"data": 4, "spatial": 2}
    assert [d.id for d in mesh.devices[1]] == [d.id for d in jax.devices()[2:4]]


def test_batch_is_split_over_data_and_rows_over_spatial():
    layout = batch_shardings(make_mesh(jax.devices()[:8], 2))
    image = jax.device_put(np.zeros((8, 6, 6, 3), np.uint8), layout["image"])
    assert {shard.data.shape for shard in image.addressable_shards} == {(2, 3, 6, 3)}
    sample = jax.device_put(np.zeros((8, 2), np.int32), layout["sample"])
    assert {shard.data.shape for shard in sample.addressable_shards} == {(2, 2)}


@pytest.mark.parametrize("spatial", [0, 3, 16])
def test_spatial_that_does_not_divide_the_devices_is_refused(spatial):
    with pytest.raises(CsstError, match=f"mesh.spatial={spatial} does not divide the 8 devices"):
        make_mesh(jax.devices()[:8], spatial)
