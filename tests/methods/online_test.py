"""Consistency, UniMatch, UniMatch V2 and CPS: losses against plain numpy."""

import collections
import dataclasses
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.losses.cross_entropy import cross_entropy
from csst_jax.losses.heads import HeadLosses
from csst_jax.methods import cps, mixing
from csst_jax.methods.base import Crops, Parts
from csst_jax.methods.cct import CrossConsistency
from csst_jax.methods.consistency import Consistency
from csst_jax.methods.corrmatch import CorrMatch
from csst_jax.methods.cps import CrossPseudoSupervision
from csst_jax.methods.dst_cbc import DynamicSelfTraining
from csst_jax.methods.freematch import FreeMatch
from csst_jax.methods.hlcon import HighAndLowConsistency
from csst_jax.methods.pseudoseg import PseudoSeg
from csst_jax.methods.u2pl import U2PL
from csst_jax.methods.unimatch import UniMatch
from csst_jax.methods.unimatch_v2 import UniMatchV2
from csst_jax.models import nnx_io
from csst_jax.models.nnx_io import Network
from csst_jax.streams import STRONG, STRONG_2, WEAK
from csst_jax.train_state import TrainState
from csst_jax.types import CsstError
from tests.methods.mean_teacher_test import softmax
from tests.train.conftest import toy_network

THRESHOLD = 0.6
SETTINGS = {
    Consistency: Consistency.Settings(THRESHOLD, weight=2.0, cutmix=0.7),
    FreeMatch: FreeMatch.Settings(0.9, weight=2.0, cutmix=0.7),
    UniMatch: UniMatch.Settings(THRESHOLD, strong_weight=0.25, feature_weight=0.5, dropout=0.5, cutmix=0.7),
    UniMatchV2: UniMatchV2.Settings(0.9, THRESHOLD, strong_weight=0.5, cutmix=0.7),
    CrossPseudoSupervision: CrossPseudoSupervision.Settings(weight=5.0, cutmix=1.0),
    CrossConsistency: CrossConsistency.Settings(30.0, 0.5, 1, 2, 1, 1, 1, 1, 2, 2.0, 0.5, 0.4, 0.3),
    PseudoSeg: PseudoSeg.Settings(1.0, 0.5, 8, 0.5),
    HighAndLowConsistency: HighAndLowConsistency.Settings(0.1, 1.0, 0.3, 1e-3, 4, 1.0, 0.2, 0.9, 0.0),
    CorrMatch: CorrMatch.Settings(0.55, 0.9, 0.5, 0.25, 0.5, 0.7, 12),
    DynamicSelfTraining: DynamicSelfTraining.Settings(1, 1, 3, 2.0),
    U2PL: U2PL.Settings(0.9, 1.0, 0.4, 0.7, 0.1, 0.3, 1, 3, 8, 5, 0.5, 8, 32, 16),
}
STEPS = 100
CHANNELS = 6


Found = collections.namedtuple("Found", ("losses", "batch_stats", "metrics", "own"))


class Seamed(Network):
    """Pixel by pixel: channels, the seam, classes; one running statistic counts the passes in training."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        shapes = {"encoder": (3, CHANNELS), "decoder": (CHANNELS, 3)}
        params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
        super().__init__(None, None, None, params, {"passes": jnp.zeros(1)}, {}, True)

    def apply_train(self, params, batch_stats, images, key, perturb=None):
        del key
        features = {"only": images @ params["encoder"]}
        features = perturb(features) if perturb else features
        return {"logits": features["only"] @ params["decoder"], "aux": {}}, {"passes": batch_stats["passes"] + 1}

    def apply_eval(self, params, batch_stats, images, perturb=None):
        return self.apply_train(params, batch_stats, images, None, perturb)[0]


def drawn_module(number, build):
    """A module of a method's own, drawn by numpy: compiling the initialisation would take longer than the tests."""
    module, rng = nnx_io.abstract(build), np.random.default_rng(number)
    params = {name: jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32) for name, x in module.params.items()}
    stats = {name: jnp.full(x.shape, name.endswith("var"), jnp.float32) for name, x in module.batch_stats.items()}
    return dataclasses.replace(module, params=params, batch_stats=stats)


def method_of(kind, settings=None):
    losses = HeadLosses(cross_entropy, False, 0.7, 1 / 16, 0.4)
    return kind(settings or SETTINGS[kind], Parts(Seamed(), losses, Seamed, drawn_module, STEPS, num_classes=3))


def drawn(shape=(4, 6, 5)):
    """A labelled and an unlabelled stream, with void and padding."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    labels[0, 0] = 255
    padding = np.zeros(shape, np.uint8)
    padding[1, :2] = 255
    images = {view: rng.normal(0, 1, (*shape, 3)).astype(np.float32) for view in ("x", WEAK, STRONG, STRONG_2)}
    keys = jax.random.split(jax.random.key(0), shape[0])
    labelled = Crops({WEAK: jnp.asarray(images.pop("x"))}, jnp.asarray(labels), keys)
    unlabelled = Crops({view: jnp.asarray(image) for view, image in images.items()}, jnp.asarray(padding), keys)
    return {"labelled": labelled, "unlabelled": unlabelled}


class InNumpy:
    """The same network and its losses, in float64, with explicit loops where a pixel's origin counts."""

    threshold = THRESHOLD

    def __init__(self, params, crops):
        self.params = {name: np.asarray(value, np.float64) for name, value in params.items()}
        self.crops = crops
        self.images = {view: np.asarray(x, np.float64) for view, x in crops["unlabelled"].images.items()}
        self.valid = np.asarray(crops["unlabelled"].labels) == 0

    def probabilities(self, images, factors=1.0, params=None):
        params = params or self.params
        return softmax((images @ params["encoder"] * factors) @ params["decoder"])

    def real(self, params=None):
        labels = np.asarray(self.crops["labelled"].labels)
        p = self.probabilities(np.asarray(self.crops["labelled"].images[WEAK], np.float64), params=params)
        return -np.mean([np.log(p[i][labels[i]]) for i in np.ndindex(labels.shape) if labels[i] != 255])

    def unlabelled(self, p, labelling, inside=None):
        """Sum over pixels whose label is sure, by all pixels of the image; in boxes all is the next crop's."""
        total_sum = count = 0.0
        for b, y, x in np.ndindex(self.valid.shape):
            source = (b + 1) % len(self.valid) if inside is not None and inside[b, y, x] else b
            answer = labelling[source, y, x]
            if self.valid[source, y, x]:
                count += 1
                total_sum -= np.log(p[b, y, x, answer.argmax()]) if answer.max() >= self.threshold else 0.0
        return total_sum / count

    def pasted(self, view, inside):
        return np.where(inside[..., None], np.roll(self.images[view], -1, 0), self.images[view])


def boxes(crops, kind, second=False):
    settings, drawn_as = SETTINGS[kind], mixing.ThreeBoxes() if kind is CrossPseudoSupervision else None
    inside = np.asarray(mixing.mix_boxes(crops["unlabelled"], settings.cutmix, drawn_as, second))
    assert 0 < inside.mean() < 1
    return inside


def objective_of(kind, own=None, settings=None):
    method, crops = method_of(kind, settings), drawn()
    params, stats = method.trained()
    state = TrainState(jnp.int32(4), params, stats, (), own or method.init(params, stats))
    key = jax.random.key(5)

    @jax.jit
    def objective(params):
        found = method.objective(params, state, crops, key)
        return {name: (x.mean, x.weight) for name, x in found.losses.items()}, found.batch_stats, found.metrics

    own = {name: module.params for name, module in getattr(method, "made", {}).items()}
    return Found(*objective(params), own), InNumpy(method.parts.network.params, crops), key


def equal(found, expected):
    """By name, each (mean, weight)."""
    assert found.losses.keys() == expected.keys()
    for name, (mean, weight) in expected.items():
        np.testing.assert_allclose(found.losses[name], (mean, weight), rtol=2e-5, err_msg=name)


def test_consistency_learns_the_networks_own_labels_on_the_strong_view():
    found, ours, _ = objective_of(Consistency)
    inside = boxes(ours.crops, Consistency)
    weak = ours.probabilities(ours.images[WEAK])
    strong = ours.probabilities(ours.pasted(STRONG, inside))
    equal(found, {"main": (ours.real(), 1.0), "unlabelled": (ours.unlabelled(strong, weak, inside), 2.0)})
    sure = (weak.max(-1) >= THRESHOLD)[ours.valid].mean()
    assert 0.1 < sure < 0.95 and float(found.metrics["confident"]) == pytest.approx(sure)
    assert float(found.batch_stats["passes"][0]) == 2


def test_unimatch_is_half_of_the_published_sum():
    found, ours, key = objective_of(UniMatch)
    weak = ours.probabilities(ours.images[WEAK])
    losses = {"main": (ours.real(), 0.5)}
    for view in (STRONG, STRONG_2):
        inside = boxes(ours.crops, UniMatch, second=view == STRONG_2)
        losses[view] = (ours.unlabelled(ours.probabilities(ours.pasted(view, inside)), weak, inside), 0.125)
    # The draw of the named feature, of the crops in turn: labelled, unlabelled, labelled, …
    drop = jax.random.fold_in(jax.random.split(key, 3)[1], zlib.crc32(b"only"))
    kept = np.asarray(jax.random.bernoulli(drop, 0.5, (8, 1, 1, CHANNELS)))[1::2]
    assert 0 < kept.mean() < 1
    losses["feature"] = (ours.unlabelled(ours.probabilities(ours.images[WEAK], 2.0 * kept), weak), 0.25)
    equal(found, losses)
    assert float(found.batch_stats["passes"][0]) == 2


def test_unimatch_v2_labels_with_the_average_and_drops_complementary_channels():
    teacher = Seamed(seed=7).params
    average = {"average": {"params": teacher, "batch_stats": {"passes": jnp.zeros(1)}}}
    found, ours, key = objective_of(UniMatchV2, average)
    weak = ours.probabilities(ours.images[WEAK], params={k: np.asarray(v, np.float64) for k, v in teacher.items()})
    drop = jax.random.split(key, 3)[2]
    first = np.asarray(jax.random.bernoulli(jax.random.fold_in(drop, CHANNELS), 0.5, (4, 1, 1, CHANNELS)))
    whole = np.asarray(jax.random.permutation(drop, 4)) < 2
    losses = {"main": (ours.real(), 0.5)}
    for view, kept in ((STRONG, first), (STRONG_2, ~first)):
        factors = np.where(whole[:, None, None, None], 1.0, 2.0 * kept)
        inside = boxes(ours.crops, UniMatchV2, second=view == STRONG_2)
        p = ours.probabilities(ours.pasted(view, inside), factors)
        losses[view] = (ours.unlabelled(p, weak, inside), 0.25)
    equal(found, losses)


def test_cps_teaches_each_network_the_others_labels():
    found, ours, _ = objective_of(CrossPseudoSupervision)
    ours.threshold = 0.0
    other = {name: np.asarray(value, np.float64) for name, value in Seamed(1).params.items()}
    inside = boxes(ours.crops, CrossPseudoSupervision)
    mixed = ours.pasted(WEAK, inside)
    labels = [ours.probabilities(ours.images[WEAK], params=p) for p in (ours.params, other)]
    students = [ours.probabilities(mixed, params=p) for p in (ours.params, other)]
    losses = {
        "main": (ours.real(), 1.0),
        "second_main": (ours.real(other), 1.0),
        "cross": (ours.unlabelled(students[0], labels[1], inside), 5.0),
        "second_cross": (ours.unlabelled(students[1], labels[0], inside), 5.0),
    }
    equal(found, losses)
    same = (labels[0].argmax(-1) == labels[1].argmax(-1))[ours.valid].mean()
    assert float(found.metrics["agreement"]) == pytest.approx(same)
    assert {name: float(value[0]) for name, value in found.batch_stats.items()} == {"passes": 3, "second.passes": 3}
    method = method_of(CrossPseudoSupervision)
    params, stats = method.predicting(TrainState(jnp.int32(0), *method.trained(), (), {}))
    assert params.keys() == method.parts.network.params.keys() and stats.keys() == {"passes"}
    assert not np.array_equal(method.trained()[0][cps.SECOND + "encoder"], params["encoder"])


PASSES = {HighAndLowConsistency: 3, PseudoSeg: 3, CrossPseudoSupervision: 3, DynamicSelfTraining: 1, U2PL: 1}
"""Of a network in training mode, where there are not two of them."""


@pytest.mark.parametrize("kind", SETTINGS)
def test_running_statistics_follow_every_pass(kind):
    method, crops = method_of(kind), drawn()
    params, stats = method.trained()
    state = TrainState(jnp.int32(4), params, stats, (), method.init(params, stats))
    found = jax.jit(lambda: method.objective(params, state, crops, jax.random.key(5)).batch_stats)()
    assert float(found["passes"][0]) == PASSES.get(kind, 2)


def test_cps_refuses_two_networks_that_begin_alike():
    method = method_of(CrossPseudoSupervision)
    same = dataclasses.replace(method, parts=dataclasses.replace(method.parts, another=lambda _: Seamed()))
    with pytest.raises(CsstError, match="method.name=cps trains two networks .* every value of both"):
        same.trained()


def test_three_boxes_cover_about_as_much_as_published():
    keys = jax.random.split(jax.random.key(0), 200)
    draw = jax.jit(jax.vmap(lambda key: mixing.ThreeBoxes().draw(key, 60, 40, 1.0)))
    assert 0.22 < np.asarray(draw(keys)).mean() < 0.38  # a quarter to a half, less what two boxes share


@pytest.mark.parametrize("kind", (UniMatch, UniMatchV2))
def test_a_network_without_the_seam_is_refused(kind):
    without = dataclasses.replace(toy_network(), perturbable=False)
    with pytest.raises(CsstError, match="takes no `perturb`"):
        kind(SETTINGS[kind], Parts(without, None, None, num_classes=3))


@pytest.mark.parametrize(
    "kind,changes,message",
    [
        (Consistency, {"confidence_threshold": 1.0}, "confidence_threshold is 1.0"),
        (Consistency, {"weight": -1.0}, "weight is -1.0"),
        (UniMatch, {"feature_weight": -1.0}, "feature_weight is -1.0"),
        (UniMatch, {"dropout": 1.0}, "dropout is 1.0"),
        (UniMatch, {"cutmix": 1.5}, "cutmix is 1.5"),
        (UniMatchV2, {"decay": 1.0}, "decay=1.0"),
        (UniMatchV2, {"strong_weight": -1.0}, "strong_weight is -1.0"),
        (CrossPseudoSupervision, {"weight": -1.0}, "weight is -1.0"),
        (CrossPseudoSupervision, {"cutmix": -0.1}, "cutmix is -0.1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, changes, message):
    with pytest.raises(CsstError, match=message):
        dataclasses.replace(SETTINGS[kind], **changes)
