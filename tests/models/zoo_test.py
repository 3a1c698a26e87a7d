"""Networks by name, and the table of them."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from csst_jax.models import __main__ as command
from csst_jax.models import nnx_io, zoo
from csst_jax.types import CsstError

# The paper's (Tables 3, 6, 7 and 9).
NETWORKS = {"fast_scnn", "bisenet", "icnet", "pspnet", "deeplab_v2", "deeplab_v3", "deeplab_v3_plus", "ocr", "encnet"}
OTHERS = {"fcn", "light_fpn", "fpn", "unet"}


def test_the_papers_networks_are_there():
    names = {name.removesuffix(f"_{zoo.entry(name).options.get('backbone')}") for name in zoo.NETWORKS}
    assert names == NETWORKS | OTHERS


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_name_resolves_and_takes_the_options_of_the_tests(name):
    """Building takes seconds: each network's own test does it."""
    zoo.builder(name, 7, width=0.25, depth=0.5, dtype="float32")
    for lineage in zoo.lineages(name):
        zoo.builder(name, 7, lineage=lineage)


def test_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(
        CsstError, match=r"unknown network 'fastscnn'; known are: .*fast_scnn.*Did you mean 'fast_scnn'\?"
    ):
        zoo.builder("fastscnn", 7)


def test_unknown_option_and_unknown_lineage_list_the_known():
    with pytest.raises(CsstError, match=r"network 'fast_scnn' has no option output_stride; it has: width, "):
        zoo.builder("fast_scnn", 7, output_stride=8)
    with pytest.raises(
        CsstError, match=r"network 'pspnet_resnet50' has no lineage 'paddle'; known are: semseg, gluon, mmseg"
    ):
        zoo.builder("pspnet_resnet50", 7, lineage="paddle")
    with pytest.raises(CsstError, match="has no option backbone"):
        zoo.builder("pspnet_resnet50", 7, backbone="resnet18")


def test_lineages_are_those_that_have_the_backbone():
    assert zoo.lineages("deeplab_v3_plus_wide_resnet38") == ("vplr",)
    assert zoo.lineages("fcn_hrnet_w48") == ("hrnet", "mmseg")
    assert "hrnet" not in zoo.lineages("fcn_resnet50")


@pytest.mark.slow
def test_table_and_json(capsys):
    assert command.main(["fast_scnn"]) == 0
    assert "| fast_scnn | – | 1,138,051 | 1,176,278 |" in capsys.readouterr().out
    assert command.main(["fast_scnn", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["network"], row["backbone"]) == ("fast_scnn", None)
    assert (row["parameters"], row["parameters_with_aux"]) == (1_138_051, 1_176_278)
    assert row["strides"] == {"stride8": 8, "stride32": 32, "fused": 8}
    # Twice the multiply-adds: 1024x2048 through 1.1 M parameters, most of them at stride 32.
    assert 5 < row["gflop"] < 50
    assert command.main(["fastscnn"]) == 2
    assert "Did you mean 'fast_scnn'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bisenet_resnet18", "icnet_resnet50"])
def test_auxiliary_weights_name_the_heads_that_there_are(name):
    network = nnx_io.abstract(zoo.builder(name, 3, width=0.125, depth=0.1))
    images, key = jax.ShapeDtypeStruct((2, 65, 97, 3), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
    outputs, _ = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, key)
    assert network.aux_weights.keys() == outputs["aux"].keys()


@pytest.mark.slow
def test_the_readme_shows_the_table():
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    few = ("fast_scnn", "bisenet_resnet18", "deeplab_v3_plus_efficientnet_lite0")  # all take minutes
    lines = command.table([command.describe(name) for name in few]).splitlines()
    shown = readme[readme.index(lines[0]) :].split("\n\n")[0].splitlines()
    assert set(lines) <= set(shown)
    names = ["_".join(cell.strip() for cell in line.split("|")[1:3]).removesuffix("_–") for line in shown[2:]]
    assert names == list(zoo.NETWORKS)
