"""U2PL's contrast: queries of a class against its centre and against pixels that are surely not of the class.

After the paper (Wang et al., arXiv:2203.03884) and the authors' code, Haochen-Wang409/U2PL ab3d2be
(`u2pl/utils/loss_helper.py`). Negatives are the paper's. The authors' code also demands that a negative of a class has
that class as its label. With a real label of another class there are then none, and without one the pseudo label must
be the class that the average ranks so low. Positions of all crops are in one row: n of them, with `d` channels and `k`
classes.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from csst_jax.losses.heads import Loss

Bank = dict[str, Array]
"""`keys`: float32 [k, size, d], negatives of each class. `filled` and `next`: int32 [k], how many there are, and where
the next one goes."""


def empty_bank(classes: int, size: int, channels: int) -> Bank:
    """A bank without keys."""
    counts = jnp.zeros(classes, jnp.int32)
    return {"keys": jnp.zeros((classes, size, channels)), "filled": counts, "next": jnp.zeros_like(counts)}


@dataclasses.dataclass(frozen=True)
class Positions:
    """What the average says of all positions of a batch.

    Attributes:
      probabilities: of the classes.
      features: its representation.
      labels: real ones, or the average's own.
      real: whether the label is real.
      sure: whether the label is real, or the entropy is among the lowest.
      unsure: whether the label is real, or the entropy is among the highest.
    """

    probabilities: Float[Array, "n k"]
    features: Float[Array, "n d"]
    labels: Int[Array, " n"]
    real: Bool[Array, " n"]
    sure: Bool[Array, " n"]
    unsure: Bool[Array, " n"]

    @property
    def of_class(self) -> Bool[Array, "k n"]:
        """Sure positions of each class."""
        return (self.labels == jnp.arange(self.probabilities.shape[1])[:, None]) & self.sure

    def negatives(self, low_rank: int, high_rank: int) -> Bool[Array, "k n"]:
        """Positions that are surely not of a class.

        With a real label: of another class, and the class is among the `low_rank` most probable ones. Else unsure, and
        the class has a rank from `low_rank` to below `high_rank`.
        """
        rank = jnp.argsort(jnp.argsort(-self.probabilities, axis=1), axis=1).T
        confused = (rank < low_rank) & (self.labels != jnp.arange(rank.shape[0])[:, None])
        return jnp.where(self.real, confused, (rank >= low_rank) & (rank < high_rank)) & self.unsure


def pushed(bank: Bank, positions: Positions, negatives: Bool[Array, "k n"], new: int, key: Key[Array, ""]) -> Bank:
    """The bank with further keys, in the place of the oldest ones.

    Args:
      bank: the one before.
      positions: whose features these are.
      negatives: which are of which class.
      new: most keys a class; the authors take all.
      key: decides which.
    """
    size = bank["keys"].shape[1]
    counts = jnp.minimum(jnp.sum(negatives, 1, dtype=jnp.int32), new)
    chosen = _drawn(negatives, new, key)
    at = (bank["next"][:, None] + jnp.arange(new)) % size
    at = jnp.where(jnp.arange(new) < counts[:, None], at, size)  # the others are nowhere
    return {
        "keys": jax.vmap(lambda keys, at, row: keys.at[at].set(row, mode="drop"))(
            bank["keys"], at, positions.features[chosen]
        ),
        "filled": jnp.minimum(bank["filled"] + counts, size),
        "next": (bank["next"] + counts) % size,
    }


def contrast(
    features: Float[Array, "n d"],
    positions: Positions,
    bank: Bank,
    weight: float,
    queries: tuple[float, int],
    negatives: tuple[int, float],
    key: Key[Array, ""],
) -> Loss:
    """The contrastive loss, a mean over the classes that have sure positions; 0 where there is one class.

    Args:
      features: the trained network's representation of the positions.
      positions: the average's.
      bank: of negatives.
      weight: of the loss.
      queries: least probability that the average gives to the class at a query, and how many queries a class has.
      negatives: how many each query has, and the temperature.
      key: decides which.
    """
    (least, wanted), (count, temperature) = queries, negatives
    of_class = positions.of_class
    members = jnp.sum(of_class, 1, dtype=jnp.float32)
    centres = (of_class.astype(jnp.float32) @ positions.features) / jnp.maximum(members, 1.0)[:, None]
    candidates = of_class & (least < positions.probabilities.T)
    query_key, negative_key = jax.random.split(key)
    own = _unit(features[_drawn(candidates, wanted, query_key)])
    u = jax.random.uniform(negative_key, (len(members), wanted, count))

    @jax.checkpoint  # one class after another: the negatives of all would fill the memory
    def of(own: Array, centre: Array, keys: Array, filled: Array, u: Array) -> Array:
        against = jax.lax.stop_gradient(_unit(keys[(u * filled).astype(jnp.int32)]))
        alike = jnp.concatenate([(own @ _unit(centre))[:, None], jnp.einsum("qd,qnd->qn", own, against)], 1)
        return jnp.mean(jax.nn.logsumexp(alike / temperature, 1) - alike[:, 0] / temperature)

    found = jax.lax.map(lambda x: of(*x), (own, centres, bank["keys"], bank["filled"], u))
    counted = jnp.any(candidates, 1) & (bank["filled"] > 0)
    there = jnp.sum(members > 0, dtype=jnp.float32)
    return Loss(jnp.where(there > 1, jnp.sum(jnp.where(counted, found, 0.0)), 0.0), there, weight)


def _drawn(mask: Bool[Array, "k n"], count: int, key: Key[Array, ""]) -> Int[Array, "k m"]:
    """Positions where the mask is true, drawn with repetition; any where it is nowhere."""
    seen = jnp.cumsum(mask, 1, dtype=jnp.int32)
    wanted = (jax.random.uniform(key, (len(mask), count)) * seen[:, -1:]).astype(jnp.int32) + 1
    found = jax.vmap(jnp.searchsorted)(seen, wanted)
    return jnp.minimum(found, mask.shape[1] - 1).astype(jnp.int32)


def _unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-16))
