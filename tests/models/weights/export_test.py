"""Export under mmsegmentation's names: its state dicts entry by entry, and every value comes back."""

import fnmatch
import json
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from csst_jax.models import nnx_io, zoo
from csst_jax.models.weights import catalogue, export, rules, torch_pickle
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, linears, modules
from csst_jax.types import CsstError
from tests.parity.cases import CASES, NUM_CLASSES

RECORDED = [
    pytest.param(
        case,
        id=case.name,
        marks=[
            pytest.mark.skipif(not case.fixture.is_file(), reason="has no fixture yet; see tests/parity/record.py"),
            *([pytest.mark.slow] if "hrnet" in case.network else []),
        ],
    )
    for case in CASES
    if case.source == "mmseg"
]


def numbered(network, **options):
    """The network's arrays, each value of them a number of its own."""
    code_base = catalogue.source("mmseg", network)
    built = nnx_io.abstract(zoo.builder(network, NUM_CLASSES, **code_base.options, **options))
    arrays, count = {}, 0
    for name, leaf in (built.params | built.batch_stats).items():
        arrays[name] = np.arange(count, count + leaf.size, dtype=np.uint32).view(np.float32).reshape(leaf.shape)
        count += leaf.size
    return code_base, arrays


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDED)
def test_the_state_dict_is_the_references_entry_by_entry(case):
    layout = json.loads(str(np.load(case.fixture)["layout"]))
    code_base, arrays = numbered(case.network, **case.options)
    assert {name: list(value.shape) for name, value in export.names(code_base, arrays).items()} == layout


def test_every_network_of_the_source_has_a_recorded_state_dict_to_compare_with():
    compared = [case.values[0].network for case in RECORDED]
    patterns = catalogue.SOURCES["mmseg"]
    assert [p for p in patterns if not fnmatch.filter(compared, p)] == []
    networks = [network for pattern in patterns for network in fnmatch.filter(zoo.NETWORKS, pattern)]
    assert [network for network in networks if "mmseg" not in zoo.lineages(network)] == []


@pytest.mark.parametrize(
    "network",
    [
        "fast_scnn",
        "bisenet_resnet18",
        "icnet_resnet50",
        "fcn_resnet50",
        pytest.param("fcn_hrnet_w48", marks=pytest.mark.slow),
        "pspnet_resnet101",
        "deeplab_v3_resnet101",
        "deeplab_v3_plus_resnet18",
        pytest.param("ocr_hrnet_w48", marks=pytest.mark.slow),
        "encnet_resnet101",
    ],
)
def test_what_is_exported_is_imported_bit_for_bit(network):
    code_base, arrays = numbered(network, width=0.125)
    theirs = export.names(code_base, arrays)
    back = rules.apply(code_base, theirs, {name: value.shape for name, value in arrays.items()})
    assert back.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(back[name].view(np.uint32), value.view(np.uint32))
    counters = {name for name, value in theirs.items() if value.dtype == np.int64}
    assert len(counters) == sum(name.endswith(".var") for name in arrays)
    assert all(name.endswith(".num_batches_tracked") and theirs[name].shape == () for name in counters)


def test_a_linear_layer_is_one_again():
    code_base, arrays = numbered("encnet_resnet50", width=0.125, depth=0.01)
    theirs = export.names(code_base, arrays)
    gate = theirs["decode_head.enc_module.fc.0.weight"]
    np.testing.assert_array_equal(gate.T, arrays["encmodule.fc.kernel"][0, 0])
    assert theirs["decode_head.se_layer.weight"].ndim == 2


def test_every_transform_can_be_undone():
    theirs = {
        "a.weight": np.arange(24.0, dtype=np.float32).reshape(4, 1, 2, 3),
        "b": np.arange(24.0, dtype=np.float32).reshape(4, 3, 2, 1),
        "c": np.arange(6.0, dtype=np.float32).reshape(1, 2, 3),
        "d": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "e": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "g": np.arange(24.0, dtype=np.float32).reshape(4, 3, 2, 1),
        "h": np.array([1, 2, 0, 0, 3, 4], np.float32),
        "f.weight": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "f.bias": np.arange(2.0, dtype=np.float32),
    }
    kinds = {"b": "conv", "c": "conv1d", "d": "linear", "e": "identity", "g": "transposed_conv", "h": "query_and_value"}
    source = Source(
        "toy",
        (*modules(("a", "own.a")), *linears(("f", "gate")), *((n, f"own.{n}", kind) for n, kind in kinds.items())),
    )
    assert {kind for *_, kind in source.rules} == set(rules.TRANSFORMS)
    shapes = {
        "own.a.kernel": (2, 3, 1, 4), "own.b": (2, 1, 3, 4), "own.c": (1, 3, 2, 1), "own.d": (3, 2), "own.e": (2, 3),
        "own.g": (2, 1, 4, 3), "own.h": (4,),
        "gate.kernel": (1, 1, 3, 2), "gate.bias": (2,),
    }  # fmt: skip
    back = export.names(source, rules.apply(source, theirs, shapes))
    assert back.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(back[name], value)


@pytest.mark.parametrize(
    "pattern,replacement",
    [
        (r"a\.\d", "b"),  # the digit is lost
        (r"a.b", "c"),  # any sign
        (r"(a|b)\.c", "d"),  # the group is not written
        (r"(a|b)\.c", r"\1.\1"),  # written twice: one could say this, the other that
        (r"((a)|b)", r"\1\2"),  # a group inside a group
        (r"a|b", "c"),
        (r"(?:a|b)", "c"),
    ],
)
def test_a_rule_that_cannot_be_turned_round_is_refused(pattern, replacement):
    source = Source("toy", ((pattern, replacement, "identity"),))
    with pytest.raises(CsstError, match="cannot be turned round"):
        export.names(source, {"x": np.zeros(1, np.float32)})


def test_groups_may_change_places_and_hold_alternatives():
    source = Source("toy", ((r"a_(x|y(?:\.\d)?)\.(\d+)-b", r"\2.own.\1", "identity"),))
    arrays = {"7.own.x": np.zeros(1, np.float32), "12.own.y.3": np.ones(2, np.float32)}
    assert list(export.names(source, arrays)) == ["a_x.7-b", "a_y.3.12-b"]


def test_arrays_without_a_rule_or_with_two_are_refused_and_a_rule_behind_another_is_found_out():
    value = np.zeros(1, np.float32)
    source = Source("toy", (("a", "b", "identity"), ("c", "b", "identity"), ("d", "e", "identity")))
    with pytest.raises(CsstError, match=r"no rule of source 'toy' for x \(1,\): it cannot be exported"):
        export.names(source, {"x": value})
    with pytest.raises(CsstError, match=r"2 rules \(a, c\) of source 'toy' for b"):
        export.names(source, {"b": value})
    hidden = Source("toy", (("(a|b)", r"other.\1", "identity"), ("a", "c", "identity")))
    with pytest.raises(CsstError, match="ours that nothing fills"):
        export.names(hidden, {"c": value})
    # float16 does not come back as it was: the importer makes float32 of everything.
    with pytest.raises(CsstError, match="reads other values than were exported: e"):
        export.names(source, {"e": value.astype(np.float16)})
    assert list(export.names(source, {"e": value})) == ["d"]
    assert list(export.names(Source("toy", modules(("a", "b")), (BATCH_COUNTER,)), {"b.var": value})) == [
        "a.running_var",
        "a.num_batches_tracked",
    ]


ENTRIES = {
    "conv.weight": np.transpose(np.arange(24.0, dtype=np.float32).reshape(2, 1, 3, 4), (3, 2, 0, 1)),  # not contiguous
    "bn.running_var": np.arange(4.0, dtype=np.float32),
    "bn.num_batches_tracked": np.zeros((), np.int64),
}


def test_pytorchs_format_is_read_back(tmp_path):
    path = tmp_path / "new" / "x.pth"
    export.write(path, ENTRIES, {"dataset_meta": {"classes": ["way", "weg"], "palette": [[1, 2, 3], [4, 5, 6]]}})
    back = torch_pickle.read(path)
    assert list(back) == list(ENTRIES)
    for name, value in ENTRIES.items():
        assert back[name].dtype == value.dtype and back[name].shape == value.shape
        np.testing.assert_array_equal(back[name], value)
    assert [p.name for p in path.parent.iterdir()] == ["x.pth"]  # no temporary file is left
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {"archive/data.pkl", "archive/byteorder", "archive/version"} < set(archive.namelist())
    first = path.read_bytes()
    export.write(path, ENTRIES, {"dataset_meta": {"classes": ["way", "weg"], "palette": [[1, 2, 3], [4, 5, 6]]}})
    assert path.read_bytes() == first


def test_pytorch_itself_loads_it(tmp_path):
    torch = pytest.importorskip("torch")
    export.write(tmp_path / "x.pth", ENTRIES, {"a": [1, "b"]})
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert content["meta"] == {"a": [1, "b"]} and list(content["state_dict"]) == list(ENTRIES)
    for name, value in ENTRIES.items():
        np.testing.assert_array_equal(content["state_dict"][name].numpy(), value)


def test_safetensors_hold_the_same_names(tmp_path):
    export.write(tmp_path / "x.safetensors", ENTRIES, {})
    back = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert back.keys() == ENTRIES.keys()
    for name, value in ENTRIES.items():
        assert back[name].shape == value.shape
        np.testing.assert_array_equal(back[name], value)


def test_what_fails_leaves_the_old_file(tmp_path):
    with pytest.raises(CsstError, match="must end in .pth or .safetensors"):
        export.write(tmp_path / "x.onnx", ENTRIES, {})
    path = tmp_path / "x.pth"
    path.write_bytes(b"old")
    with pytest.raises(KeyError):
        export.write(path, {"half": np.zeros(1, np.float16)}, {})
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["x.pth"]
