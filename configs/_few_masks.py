"""The recipe for few masks, which several configurations share."""

from ml_collections import ConfigDict

from configs import base

NETWORK = "light_fpn_efficientnet_lite0"
"""Two cores train it in minutes, and its ImageNet weights come with the packages."""


def few_masks(c: ConfigDict, net: str = "", student: str = "", pretrained: str = "") -> None:
    """Networks and recipe for few masks: light FPN with ImageNet weights, or what the user chose.

    With pretrained weights, half of the student's crops have masks. The others have pseudo labels and are strongly
    augmented. The most confident half of each class's pixels keeps its label: with one threshold for all classes the
    student forgets classes that the teacher predicts with a low confidence. A pixel needs the lower threshold of its
    two most probable classes: otherwise the class with the lower threshold takes pixels of the other (docs/adr/0022).
    The losses on masks and on pseudo labels have weight 1 each. With weights of a half, masks teach the student half
    as much as the teacher, and it forgets rare classes (docs/results/recipe.md). From random weights,
    `expect_weak_teacher` applies instead.

    Args:
      c: the configuration, which is changed.
      net: the teacher's network; `NETWORK` if empty.
      student: the student's network; the teacher's if empty.
      pretrained: weights for `net`; if both are empty, those of ImageNet.
    """
    if not net:
        net, pretrained = NETWORK, pretrained or "imagenet"
    base.choose_networks(c, net, student, pretrained)
    for stage in (c.teacher, c.student):
        if not stage.pretrained:
            stage.lr.base = 0.05
            continue
        stage.schedule.kind = "constant"
        stage.lr.base, stage.lr.per = 0.02, "step"
        stage.loss.ohem = False
        stage.augment.blur = 0.0
        stage.precise_bn_steps = 50
    if c.teacher.pretrained:
        c.student.method.name = "real_and_pseudo"
        c.student.method.real_and_pseudo.real_weight = c.student.method.real_and_pseudo.pseudo_weight = 1.0
        c.label.flip = True
        c.label.class_portion = 0.5
        c.label.lower_of_two = True
    else:
        expect_weak_teacher(c)


def expect_weak_teacher(c: ConfigDict) -> None:
    """For a teacher that starts from random weights on few masks (measured: docs/adr/0006-unsure-pixels-are-void.md).

    Such a teacher misses most thin and rare things, and is uncertain there. It labels them as what is behind them,
    which would teach the student not to see them. So uncertain pixels are void, and half of each class's crops come
    from masks.
    """
    c.label.flip = True
    c.label.confidence_threshold = 0.5
    c.student.sampler.real_share = 0.5
