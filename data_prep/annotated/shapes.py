"""What annotation files hold, whatever the tool, and the mask that shapes make together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.annotated.regions import Region, Size, area, require_pycocotools


@dataclasses.dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
      label: name of its class.
      region: its pixels.
      layer: shapes of a higher layer lie on those of a lower one, where the tool has layers.
      is_box: whether it is a rectangle, which most people draw around things to detect.
    """

    label: str
    region: Region
    layer: int = 0
    is_box: bool = False


@dataclasses.dataclass(frozen=True)
class Annotated:
    """What a file says of one image.

    Attributes:
      names: paths or names that it gives the image, the best one first.
      where: the file and the place in it.
      size: the image's size, as the file has it.
      shapes: in the file's order.
      uploaded: the name that the image's file has in Label Studio, which takes characters out; empty where it was not
        uploaded there.
    """

    names: tuple[str, ...]
    where: str
    size: Size
    shapes: tuple[Shape, ...]
    uploaded: str = ""


@dataclasses.dataclass
class Annotations:
    """What a file holds.

    Attributes:
      tool: whose format it is.
      classes: names in the file's order.
      images: those that somebody has looked at or drawn on.
      left_out: what makes no region, by reason; the places.
      ordered: whether the tool has an order of the classes; else they are those that are drawn, by the alphabet.
    """

    tool: str
    classes: list[str] = dataclasses.field(default_factory=list)
    images: list[Annotated] = dataclasses.field(default_factory=list)
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    ordered: bool = True

    def without_blanks(self) -> Annotations:
        """The same with labels that neither begin nor end with a blank, which nobody sees in a tool."""
        images = [
            dataclasses.replace(
                image,
                shapes=tuple(dataclasses.replace(shape, label=shape.label.strip()) for shape in image.shapes),
            )
            for image in self.images
        ]
        return dataclasses.replace(self, classes=[name.strip() for name in self.classes], images=images)

    def leave_out(self, what: str, where: str) -> None:
        """Notes a shape that is not used."""
        self.left_out.setdefault(what, []).append(where)


def draw(
    shapes: Sequence[Shape], values: Mapping[str, int], size: Size, outside: int, smaller_on_top: bool
) -> tuple[np.ndarray, int]:
    """The mask that shapes make.

    Args:
      shapes: in the file's order.
      values: of the mask, by label.
      size: of the image.
      outside: value of pixels that no shape has.
      smaller_on_top: within a layer a smaller shape lies on a larger one, and else a later one on an earlier one.

    Returns:
      The mask, uint8 [h, w], and how many of its pixels lie in shapes of different values.
    """
    mask = require_pycocotools()
    label = np.full(size, outside, np.uint8)
    drawn, disputed = np.zeros(size, bool), np.zeros(size, bool)
    order = sorted(
        range(len(shapes)),
        key=lambda at: (shapes[at].layer, -area(shapes[at].region) if smaller_on_top else 0, at),
    )
    for at in order:
        inside = mask.decode(shapes[at].region).astype(bool)
        value = values[shapes[at].label]
        disputed |= inside & drawn & (label != value)
        label[inside] = value
        drawn |= inside
    return label, int(disputed.sum())
