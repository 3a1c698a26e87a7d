"""The mesh, and what is laid out over it."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.streams import LABELLED, WEAK, half_unlabelled
from csst_jax.train import sharding
from csst_jax.train.sharding import (
    input_shardings,
    make_mesh,
    require_whole_rows,
    require_whole_units,
    state_shardings,
)
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError, Phase


def test_spatial_neighbours_are_neighbours_among_the_devices():
    mesh = make_mesh(jax.devices()[:8], 2)
    assert dict(mesh.shape) == {"data": 4, "spatial": 2}
    assert [d.id for d in mesh.devices[1]] == [d.id for d in jax.devices()[2:4]]


def test_batch_is_split_over_data_and_rows_over_spatial():
    layout = input_shardings([LABELLED], make_mesh(jax.devices()[:8], 2))["labelled"]
    image = jax.device_put(np.zeros((8, 6, 6, 3), np.uint8), layout["image"])
    assert {shard.data.shape for shard in image.addressable_shards} == {(2, 3, 6, 3)}
    sample = jax.device_put(np.zeros((8, 2), np.int32), layout["sample"])
    assert {shard.data.shape for shard in sample.addressable_shards} == {(2, 2)}


@pytest.mark.parametrize("spatial", [0, 3, 16])
def test_spatial_that_does_not_divide_the_devices_is_refused(spatial):
    with pytest.raises(CsstError, match=f"mesh.spatial={spatial} does not divide the 8 devices"):
        make_mesh(jax.devices()[:8], spatial)


def test_an_image_s_rows_stay_in_one_process(monkeypatch):
    """Each process reads whole crops."""
    devices = [types.SimpleNamespace(process_index=number // 2) for number in range(8)]
    monkeypatch.setattr(sharding, "Mesh", lambda devices, names: devices.shape)
    assert make_mesh(devices, 2) == (4, 2)
    with pytest.raises(CsstError, match="mesh.spatial=4 does not divide the 2 devices of a process"):
        make_mesh(devices, 4)


@pytest.mark.parametrize("data,spatial,shape", [(-1, 1, (8, 1)), (2, -1, (2, 4)), (4, 2, (4, 2)), (1, -1, (1, 8))])
def test_sizes_are_given_or_what_is_left(data, spatial, shape):
    assert make_mesh(jax.devices()[:8], spatial, data).devices.shape == shape


@pytest.mark.parametrize("data,spatial", [(3, -1), (4, 1), (8, 2), (0, -1), (-2, 1), (-2, -1)])
def test_sizes_that_do_not_make_the_devices_are_refused(data, spatial):
    with pytest.raises(CsstError, match=f"mesh.data={data} and mesh.spatial={spatial} do not make 8 devices; set one"):
        make_mesh(jax.devices()[:8], spatial, data)


def test_only_one_size_can_be_what_is_left():
    with pytest.raises(CsstError, match="mesh.data=-1 and mesh.spatial=-1: -1 stands for .*give a number for one"):
        make_mesh(jax.devices()[:8], -1)


def test_split_arrays_are_split_along_their_longest_axis_that_the_devices_divide():
    mesh = make_mesh(jax.devices()[:8], 2)  # four share the batch
    shapes = {"kernel": (3, 3, 16, 8), "long": (10, 8), "bias": (8,), "odd": (3, 5), "scalar": ()}
    arrays = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    state = TrainState(jnp.int32(0), arrays, arrays, ({"momentum": arrays},))
    layout = state_shardings(state, mesh, split=True)
    axes = {name: tuple(found.spec) for name, found in layout.params.items()}
    assert axes == {
        "kernel": (None, None, "data"),
        "long": (None, "data"),
        "bias": ("data",),
        "odd": (),
        "scalar": (),
    }
    assert layout.opt_state[0]["momentum"] == layout.params
    assert all(found.is_fully_replicated for found in (layout.step, *layout.batch_stats.values()))
    whole = state_shardings(state, mesh, split=False)
    assert all(found.is_fully_replicated for found in jax.tree.leaves(whole))


def test_a_batch_that_does_not_fit_names_all_that_it_must_be_divisible_by():
    mesh, streams = make_mesh(jax.devices()[:4], 1), half_unlabelled(WEAK)
    require_whole_units(16, streams, mesh, 2)
    message = (
        r"batch of 24 is not divisible by 16 = 4 \(devices .* x 2 \(micro-batches\) x 2 \(crops: 1 labelled, 1 unl"
    )
    with pytest.raises(CsstError, match=message):
        require_whole_units(24, streams, mesh, 2)


def test_a_crop_whose_rows_devices_cannot_share_is_refused():
    mesh = make_mesh(jax.devices()[:4], 2)
    require_whole_rows([Phase(32, 8, 1)], mesh)
    with pytest.raises(CsstError, match=r"crop of 33 px is not divisible by mesh.spatial=2.*example 32 or 34."):
        require_whole_rows([Phase(32, 8, 1), Phase(33, 8, 1)], mesh)
