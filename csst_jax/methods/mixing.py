"""What changes crops of a batch: CutMix (Yun et al. 2019), cutout (DeVries and Taylor 2017), ClassMix (Olsson 2021).

A crop's draws depend on its own key alone, so a resumed run and a run on other devices cut the same boxes.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key, UInt8

from csst_jax.methods.base import Crops
from csst_jax.types import IGNORE_LABEL, CsstError

# Numbers that keep these draws apart from the augmentation's, which folds 0 to 2 into the same keys.
_MIX, _CUT_OUT, _CLASSES, _SECOND_MIX = 3, 4, 5, 6


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Which share of a crop a box covers, and of what shape; UniMatch's numbers (`dataset/transform.py`).

    Attributes:
      smallest: share of the crop's area.
      largest: likewise.
      narrowest: height over width is drawn from this to its inverse.
    """

    smallest: float = 0.02
    largest: float = 0.4
    narrowest: float = 0.3

    def draw(self, key: Key[Array, ""], height: int, width: int, probability: float) -> Bool[Array, "h w"]:
        """One crop's box: True inside; nowhere with probability 1 - `probability`.

        A box that would be longer than a side is cut to it, where UniMatch draws again.
        """
        u = jax.random.uniform(key, (5,))
        area = (self.smallest + (self.largest - self.smallest) * u[0]) * (height * width)
        aspect = self.narrowest + (1 / self.narrowest - self.narrowest) * u[1]
        tall = jnp.minimum(jnp.sqrt(area * aspect), height)
        wide = jnp.minimum(jnp.sqrt(area / aspect), width)
        top, left = jnp.floor(u[2] * (height - tall)), jnp.floor(u[3] * (width - wide))
        rows, columns = jnp.arange(height), jnp.arange(width)
        down = (rows >= top) & (rows < top + tall)
        across = (columns >= left) & (columns < left + wide)
        return down[:, None] & across[None] & (u[4] < probability)


@dataclasses.dataclass(frozen=True)
class ThreeBoxes:
    """CutMix's pixels as CPS draws them (TorchSemiSeg 5e0c29c `mask_gen.py`): each of three boxes turns what is inside.

    Each box covers a third of a share of the crop that is drawn for it, at any height to width that fits. Of the two
    crops that are mixed, which is the pasted one makes no difference.

    Attributes:
      smallest: least such share.
      largest: largest such share.
    """

    smallest: float = 0.25
    largest: float = 0.5

    def draw(self, key: Key[Array, ""], height: int, width: int, probability: float) -> Bool[Array, "h w"]:
        """One crop's pixels: True inside one box or three; nowhere with probability 1 - `probability`."""
        u = jax.random.uniform(key, (13,))
        inside = jnp.zeros((height, width), bool)
        rows, columns = jnp.arange(height), jnp.arange(width)
        for share, shape, down, across in u[:12].reshape(3, 4):
            area = self.smallest + (self.largest - self.smallest) * share
            tall = jnp.round(area**shape * (height / 3**0.5))
            wide = jnp.round(area ** (1 - shape) * (width / 3**0.5))
            top, left = jnp.round(down * (height - tall)), jnp.round(across * (width - wide))
            in_rows, in_columns = (rows >= top) & (rows < top + tall), (columns >= left) & (columns < left + wide)
            inside ^= in_rows[:, None] & in_columns[None]
        return inside & (u[12] < probability)


def cutmix(crops: Crops, probability: float) -> Crops:
    """Pastes a box of the next crop of the batch into each crop: all views, and the labels with their void pixels.

    Args:
      crops: with labels or without; the last crop's next one is the first.
      probability: that a crop gets a box.
    """
    if not probability:
        return crops
    inside = mix_boxes(crops, probability)
    images = {view: pasted(inside, x) for view, x in crops.images.items()}
    soft = None if crops.soft is None else pasted(inside, crops.soft)
    return dataclasses.replace(crops, images=images, labels=pasted(inside, crops.labels), soft=soft)


def mix_boxes(
    crops: Crops, probability: float, boxes: Boxes | ThreeBoxes | None = None, second: bool = False
) -> Bool[Array, "b h w"]:
    """CutMix's boxes alone, for methods that mix pseudo labels: True where the next crop is to be seen.

    Args:
      crops: with labels or without; their keys decide the draws.
      probability: that a crop gets a box.
      boxes: their sizes; UniMatch's by default.
      second: whether these are the boxes of a second strong view.
    """
    return _boxes(crops, _SECOND_MIX if second else _MIX, probability, boxes or Boxes())


def pasted(inside: Bool[Array, "b h w"], x: Array) -> Array:
    """Each crop with the next one's pixels in its boxes, "b h w ..." of any dtype; the last one's next is the first."""
    return jnp.where(inside.reshape(inside.shape + (1,) * (x.ndim - 3)), jnp.roll(x, -1, 0), x)


def cutout(crops: Crops, probability: float, boxes: Boxes | None = None) -> Crops:
    """Empties a box of each crop: the mean colour, 0 after normalisation, in all views, and void in the labels.

    Args:
      crops: with labels or without.
      probability: that a crop loses a box.
      boxes: their sizes; UniMatch's by default.
    """
    if not probability:
        return crops
    inside = _boxes(crops, _CUT_OUT, probability, boxes or Boxes())
    images = {view: jnp.where(inside[..., None], 0.0, x) for view, x in crops.images.items()}
    return dataclasses.replace(crops, images=images, labels=jnp.where(inside, jnp.uint8(IGNORE_LABEL), crops.labels))


def classmix(crops: Crops, onto: Crops, probability: float) -> Crops:
    """Pastes half of the classes of other crops into each crop, images and labels, as DACS does across domains.

    A class that the teacher misses is taught away where its pixels are labelled as what is behind them. Pasted from
    real labels, it stands in the images of the pool, too, with labels that are right.

    Args:
      crops: what is pasted, in `onto`'s views; taken over again where they are fewer. Their void is not pasted.
      onto: what it is pasted into; its keys decide the draws.
      probability: that a crop gets anything.
    """
    if not probability:
        return onto
    count, given = onto.labels.shape[0], crops.labels.shape[0]

    def chosen(key: Key[Array, ""], labels: UInt8[Array, "h w"]) -> Bool[Array, "h w"]:
        """Pixels of half of the classes that are there, rounded up: those of the lowest numbers drawn."""
        u = jax.random.uniform(jax.random.fold_in(key, _CLASSES), (IGNORE_LABEL + 1,))
        there = jnp.zeros(IGNORE_LABEL + 1, bool).at[labels.ravel()].set(True).at[IGNORE_LABEL].set(False)
        rank = jnp.argsort(jnp.argsort(jnp.where(there, u, 2.0)))
        wanted = there & (rank < (jnp.sum(there) + 1) // 2)
        return wanted[labels] & (u[IGNORE_LABEL] < probability)

    def fitted(x: Array) -> Array:
        return jnp.concatenate([x] * -(-count // given))[:count] if count != given else x

    labels = fitted(crops.labels)
    pasted = jax.vmap(chosen)(onto.keys, labels)
    images = {view: jnp.where(pasted[..., None], fitted(crops.images[view]), x) for view, x in onto.images.items()}
    # What is pasted has real labels, whose soft maps are 0.
    soft = None if onto.soft is None else jnp.where(pasted[..., None], jnp.uint8(0), onto.soft)
    return dataclasses.replace(onto, images=images, labels=jnp.where(pasted, labels, onto.labels), soft=soft)


def require_probability(name: str, value: float) -> None:
    """Refuses a number that is no probability.

    Raises:
      CsstError: names it.
    """
    if not 0 <= value <= 1:
        raise CsstError(f"{name} is {value}; give a probability from 0 to 1.")


def _boxes(crops: Crops, number: int, probability: float, boxes: Boxes | ThreeBoxes) -> Bool[Array, "b h w"]:
    _, height, width = crops.labels.shape
    return jax.vmap(lambda k: boxes.draw(jax.random.fold_in(k, number), height, width, probability))(crops.keys)
