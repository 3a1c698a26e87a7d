"""What each loss of a method trains: nothing is learned through the labels that a step makes for itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csst_jax.methods.cct import CrossConsistency
from csst_jax.methods.corrmatch import CorrMatch
from csst_jax.methods.cps import CrossPseudoSupervision
from csst_jax.methods.hlcon import HighAndLowConsistency
from csst_jax.methods.pseudoseg import PseudoSeg
from csst_jax.methods.u2pl import U2PL
from csst_jax.train_state import TrainState
from tests.methods.cct_test import NONE
from tests.methods.hlcon_test import Judge
from tests.methods.online_test import SETTINGS, drawn, method_of

BOTH = {"encoder", "decoder"}
TRAINS = {
    CrossConsistency: {"main": BOTH, "consistency": {"encoder", "cct"}},
    PseudoSeg: {
        "main": BOTH,
        "attention": {"pseudoseg.attention", "pseudoseg.scores"},
        "presence": {"encoder", "pseudoseg.presence"},
        "unlabelled": BOTH,
    },
    CorrMatch: {
        **dict.fromkeys(("main", "strong", "soft", "feature"), BOTH),
        **{name: {"encoder", "corrmatch"} for name in ("correlated", "correlated_strong", "correlated_weak")},
    },
    HighAndLowConsistency: {
        **dict.fromkeys(("main", "matching", "unlabelled"), BOTH),
        "presence": {"encoder", "hlcon"},
        "agreement": {"encoder", "hlcon"},
    },
    U2PL: {"main": BOTH, "unlabelled": BOTH, "contrast": {"encoder", "u2pl"}},
    CrossPseudoSupervision: {
        "main": BOTH,
        "cross": BOTH,
        "second_main": {"second"},
        "second_cross": {"second"},
    },
}
"""By loss: the network's parts and the method's own modules whose parameters it moves."""


SHORT = {CrossConsistency: dataclasses.replace(SETTINGS[CrossConsistency], **{**NONE, "drop": 1})}
"""One kind of auxiliary decoders: all of them take half a minute to compile."""


def gradients_of(kind):
    """By loss and parameter, of the means."""
    method, crops, key = method_of(kind, SHORT.get(kind)), drawn(), jax.random.key(5)
    params, stats = method.trained()
    state = TrainState(jnp.int32(60), params, stats, (), method.init(params, stats))

    @jax.jit
    def found():
        own = method.after(state, crops, key) if kind is U2PL else state.method  # fills the bank of negatives
        now = TrainState(state.step, params, stats, (), own)
        return jax.jacrev(lambda p: {n: x.mean for n, x in method.objective(p, now, crops, key).losses.items()})(params)

    return found()


@pytest.mark.parametrize("kind", TRAINS)
def test_a_loss_trains_what_it_should_and_nothing_else(kind, monkeypatch):
    monkeypatch.setattr(HighAndLowConsistency, "_discriminator", Judge())  # whose crops may be small
    modules = {module for trained in TRAINS[kind].values() for module in trained}
    found = gradients_of(kind)
    trained = {
        loss: {own for own in modules for name, x in slopes.items() if name.startswith(own) and np.abs(x).max() > 1e-7}
        for loss, slopes in found.items()
    }
    assert trained == TRAINS[kind]
