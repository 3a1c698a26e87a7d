"""Networks by name, and the table of them."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from csst_jax.models import __main__ as command
from csst_jax.models import counting, nnx_io, zoo
from csst_jax.models.weights import catalogue
from csst_jax.types import CsstError
from tests.models import small_networks

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORD = "`python -m csst_jax.models --record` counts again"

# Those of Tables 3, 6, 7 and 9; the zoo may have others.
OF_THE_PAPER = {
    "fast_scnn", "bisenet", "icnet", "pspnet", "deeplab_v2", "deeplab_v3", "deeplab_v3_plus", "ocr", "encnet",
}  # fmt: skip


def test_the_papers_networks_are_there():
    there = {name.removesuffix(f"_{zoo.entry(name).options.get('backbone')}") for name in zoo.NETWORKS}
    assert there >= OF_THE_PAPER


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_name_resolves_and_takes_the_options_of_the_tests(name):
    """Building takes seconds: each network's own test does it."""
    zoo.builder(name, 7, dtype="float32", **small_networks.options(name, width=0.25, depth=0.5))
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


def test_the_table_is_printed_without_counting_or_waiting_for_jax():
    program = (
        "import sys\nfrom csst_jax.models import __main__ as command, counting\n"
        "command.main([*counting.counted()])\n"
        "print('jax' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.endswith("\nFalse\n") and len(shown.splitlines()) == 3 + len(counting.counted())


def test_a_network_that_was_not_counted_yet_is_counted_now(monkeypatch, capsys):
    entry = zoo.Entry("tests.toy_network:build")
    monkeypatch.setitem(zoo.NETWORKS, "toy", entry)
    monkeypatch.setattr(counting, "_SIZE", (64, 128))
    assert command.main(["toy"]) == 0
    assert "| toy | – | " in capsys.readouterr().out


def test_record_writes_nothing_into_an_installed_package(monkeypatch, capsys):
    monkeypatch.setattr(command, "checkout", lambda: None)
    monkeypatch.setattr(command, "record", lambda rows: pytest.fail("written"))
    assert command.main(["fast_scnn", "--record"]) == 2
    assert "this is an installed package" in capsys.readouterr().err


def test_record_keeps_the_rows_and_shows_them_in_the_docs(monkeypatch, tmp_path):
    for module, name in ((counting, "COUNTED"), (command, "PAGE")):
        shutil.copy(getattr(module, name), tmp_path / name)
        monkeypatch.setattr(module, name, tmp_path / name)
    text = command.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(counting, "describe", lambda name: {**counting.counted()[name], "gflop": 12_345})
    assert command.main(["fast_scnn", "--record"]) == 0
    assert counting.counted()["fast_scnn"]["gflop"] == 12_345
    assert command.PAGE.read_text(encoding="utf-8") == text.replace("| 27 | fused", "| 12,345 | fused")


@pytest.mark.parametrize("name", counting.counted())
def test_what_was_recorded_is_what_the_zoo_has(name):
    row = counting.counted()[name]
    assert (tuple(row["lineages"]), row["weights"]) == (zoo.lineages(name), list(catalogue.sources_of(name))), RECORD


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast_scnn", "bisenet_resnet18", "deeplab_v3_plus_efficientnet_lite0"])
def test_what_was_recorded_is_what_is_counted(name):
    """Of a few: all take minutes."""
    assert json.loads(json.dumps(counting.describe(name))) == counting.counted()[name], RECORD


@pytest.mark.parametrize("name", ["bisenet_resnet18", "icnet_resnet50"])
def test_auxiliary_weights_name_the_heads_that_there_are(name):
    network = nnx_io.abstract(zoo.builder(name, 3, width=0.125, depth=0.1))
    images, key = jax.ShapeDtypeStruct((2, 65, 97, 3), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
    outputs, _ = jax.eval_shape(network.apply_train, network.params, network.batch_stats, images, key)
    assert network.aux_weights.keys() == outputs["aux"].keys()


def test_the_page_of_the_zoo_shows_what_was_recorded():
    text = command.PAGE.read_text(encoding="utf-8")
    assert command.with_table(text, list(counting.counted().values())) == text, RECORD
