"""Rules: nothing is left over on either side, and the one error lists everything."""

import dataclasses

import numpy as np
import pytest

from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights import catalogue, rules
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.types import CsstError

SOURCE = Source(
    "toy",
    rules=(
        *modules((r"body\.(\d)\.(conv|bn)", r"blocks.\1.\2"), (r"head\.fc", "classifier"), (r"attention\.fc", "gate")),
        (r"codes", "codewords", "identity"),
        (r"mix\.weight", "mix", "linear"),
    ),
    drop=(BATCH_COUNTER, ("auxiliary head", r"aux\..*")),
)
LIKE = {
    "blocks.0.conv.kernel": (3, 5, 2, 4),
    "blocks.0.bn.scale": (4,),
    "blocks.0.bn.bias": (4,),
    "blocks.0.bn.mean": (4,),
    "blocks.0.bn.var": (4,),
    "classifier.kernel": (1, 1, 4, 7),
    "classifier.bias": (7,),
    "gate.kernel": (1, 1, 4, 4),
    "codewords": (6, 4),
    "mix": (4, 2),
}
CLASSIFIER = {"classifier.kernel", "classifier.bias"}


def entries(classes=7):
    rng = np.random.default_rng(0)
    shapes = {
        "body.0.conv.weight": (4, 2, 3, 5),
        "body.0.bn.weight": (4,),
        "body.0.bn.bias": (4,),
        "body.0.bn.running_mean": (4,),
        "body.0.bn.running_var": (4,),
        "body.0.bn.num_batches_tracked": (),
        "head.fc.weight": (classes, 4, 1, 1),
        "head.fc.bias": (classes,),
        "attention.fc.weight": (4, 4),
        "codes": (6, 4),
        "mix.weight": (2, 4),
        "aux.0.weight": (3, 3),
        "aux.0.bias": (3,),
    }
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def test_every_value_arrives_under_our_name_and_layout():
    theirs = entries()
    ours = rules.apply(SOURCE, theirs, LIKE, CLASSIFIER)
    assert {name: value.shape for name, value in ours.items()} == LIKE
    assert {value.dtype for value in ours.values()} == {np.dtype(np.float32)}
    f32 = {name: value.astype(np.float32) for name, value in theirs.items()}
    assert ours["blocks.0.conv.kernel"][1, 4, 0, 3] == f32["body.0.conv.weight"][3, 0, 1, 4]
    assert ours["gate.kernel"][0, 0, 1, 2] == f32["attention.fc.weight"][2, 1]
    assert ours["mix"][3, 1] == f32["mix.weight"][1, 3]
    for mine, other in {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}.items():
        np.testing.assert_array_equal(ours[f"blocks.0.bn.{mine}"], f32[f"body.0.bn.{other}"])
    assert rules.dropped(SOURCE, theirs) == {"num_batches_tracked": 1, "auxiliary head": 2}


def test_one_error_lists_every_kind_of_difference():
    theirs = entries()
    theirs["body.0.conv.weight"] = np.zeros((4, 2, 3, 3))
    theirs["surprise.weight"] = np.zeros(3)  # no rule
    theirs["body.7.conv.weight"] = np.zeros((4, 4, 1, 1))  # a rule, but no parameter
    theirs["codewords"] = theirs["codes"]
    del theirs["head.fc.bias"], theirs["body.0.bn.running_var"]
    source = Source("toy", (*SOURCE.rules, (r"codewords", "codewords", "identity")), SOURCE.drop)
    with pytest.raises(CsstError) as caught:
        rules.apply(source, theirs, LIKE, CLASSIFIER)
    text = str(caught.value)
    assert "source 'toy'" in text
    for line in (
        "ours that nothing fills (2):\n    blocks.0.bn.var\n    classifier.bias",
        "no parameter for (1):\n    body.7.conv.weight (as blocks.7.conv.kernel)",
        "no rule matches (1):\n    surprise.weight",
        "blocks.0.conv.kernel 3×5×2×4 from body.0.conv.weight 3×3×2×4",
        "ours filled twice (1):\n    codewords from codes and from codewords",
    ):
        assert line in text


def test_another_number_of_classes_leaves_the_classifier_out_and_nothing_else():
    theirs = entries(classes=19)
    assert rules.number_of_classes(SOURCE, theirs, CLASSIFIER) == 19
    ours = rules.apply(SOURCE, theirs, LIKE, CLASSIFIER)
    assert LIKE.keys() - ours.keys() == CLASSIFIER
    with pytest.raises(CsstError, match="classifier.bias 7 from head.fc.bias 19"):
        rules.apply(SOURCE, theirs, LIKE)
    theirs["head.fc.bias"] = theirs["head.fc.bias"][:7]  # two numbers of classes at once is no other number of classes
    with pytest.raises(CsstError, match="classifier.kernel 1×1×4×7 from head.fc.weight 1×1×4×19"):
        rules.apply(SOURCE, theirs, LIKE, CLASSIFIER)


ZERO = dataclasses.replace(
    SOURCE,
    rules=(*SOURCE.rules, (r"body\.(\d)\.shift", r"blocks.\1.shift", "identity")),
    zero=(r"blocks\.\d\.shift",),
)
SHIFTS = {"blocks.0.shift": (4,), "blocks.1.shift": (2,)}


def test_arrays_that_a_checkpoint_has_none_of_are_zero_where_the_source_says_so():
    ours = rules.apply(ZERO, entries(), LIKE | SHIFTS, CLASSIFIER)
    assert {name: value.shape for name, value in ours.items()} == LIKE | SHIFTS
    for name in SHIFTS:
        assert ours[name].dtype == np.float32 and not ours[name].any()
    assert rules.apply(ZERO, entries(), LIKE, CLASSIFIER).keys() == LIKE.keys(), "nothing that is not asked for"
    shifts = {"body.0.shift": np.arange(4.0), "body.1.shift": np.arange(2.0)}
    ours = rules.apply(ZERO, entries() | shifts, LIKE | SHIFTS, CLASSIFIER)
    np.testing.assert_array_equal(ours["blocks.0.shift"], np.arange(4.0))


def test_a_checkpoint_with_some_of_them_must_have_all():
    theirs = entries() | {"body.0.shift": np.arange(4.0)}
    with pytest.raises(CsstError, match=r"ours that nothing fills \(1\):\n    blocks.1.shift"):
        rules.apply(ZERO, theirs, LIKE | SHIFTS, CLASSIFIER)
    with pytest.raises(CsstError, match=r"ours that nothing fills \(2\)"):
        rules.apply(dataclasses.replace(ZERO, zero=()), entries(), LIKE | SHIFTS, CLASSIFIER)
    with pytest.raises(CsstError, match="blocks.0.bn.scale"):
        lacking = {name: value for name, value in entries().items() if name != "body.0.bn.weight"}
        rules.apply(ZERO, lacking, LIKE | SHIFTS, CLASSIFIER)


def test_preprocessing_is_checked():
    with pytest.raises(CsstError, match="GRB"):
        Preprocessing(channels="GRB")
    with pytest.raises(CsstError, match="256"):
        Preprocessing(value_range=256.0)


@pytest.mark.parametrize("name,start", [(n, s) for n, starts in catalogue.SOURCES.items() for s in starts])
def test_every_source_resolves_and_its_rules_compile(name, start):
    source = catalogue.source(name, start)
    assert isinstance(source, Source) and source.name == name
    assert rules.dropped(source, {"x.num_batches_tracked": np.zeros(())}) == {"num_batches_tracked": 1}


def test_unknown_sources_and_networks_list_the_known():
    with pytest.raises(CsstError, match="unknown source 'mmsegmentation'; known are: torchvision, .*mmseg"):
        catalogue.source("mmsegmentation", "fast_scnn")
    with pytest.raises(CsstError, match="source 'mmseg' has no 'deeplab_v2_resnet101'; it has: .*fast_scnn"):
        catalogue.source("mmseg", "deeplab_v2_resnet101")


PARTS = Source("toy", tuple((rf"{name}\.weight", f"mixed.kernel[{i}]", "linear") for i, name in enumerate("abc")))


def test_parts_are_joined_in_the_order_of_their_numbers():
    theirs = {f"{name}.weight": np.full((2, 3), value, np.float32) for value, name in enumerate("cab")}
    joined = rules.apply(PARTS, theirs, {"mixed.kernel": (3, 6)})["mixed.kernel"]
    np.testing.assert_array_equal(joined, np.broadcast_to([1, 1, 2, 2, 0, 0], (3, 6)))


@pytest.mark.parametrize(("left_out", "told"), [("a", "nothing fills"), ("b", "nothing fills"), ("c", "3×6 from a.w")])
def test_a_part_that_is_missing_is_told(left_out, told):
    theirs = {f"{name}.weight": np.zeros((2, 3)) for name in "abc" if name != left_out}
    with pytest.raises(CsstError, match=told) as error:
        rules.apply(PARTS, theirs, {"mixed.kernel": (3, 6)})
    assert all(name in str(error.value) for name in ("mixed.kernel", *theirs))
