"""What a run has shown, in a sentence or two, and what to be careful about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from csst_jax.evaluation.table import in_one_mean
from csst_jax.reporting.certainty import LEAST_IMAGES, Interval, intervals
from csst_jax.reporting.markup import LEAST_DIFFERENCE, escaped, isolated, percent, points
from csst_jax.streams import REAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.reporting.collected import Collected, Network

FEW_IMAGES = 50
_MOST_CLASSES = 8
"""Named at the head of the page, each of the better and of the worse ones; the table below has all."""
_AS_MANY = 1.1
"""Two stages have seen equally many pixels if one has at most so many times those of the other."""


def gain(student: Network, other: Network) -> tuple[Interval, list[Interval]] | None:
    """Intervals of the differences of two networks; None where that cannot be told, as `why_not_told` explains."""
    if student.counts is None or other.counts is None or why_not_told(student, other):
        return None
    return intervals(student.counts, other.counts)


def why_not_told(student: Network, other: Network) -> str:
    """Why nobody can tell whether a difference is significant; empty where it can be told."""
    if student.counts is None or other.counts is None:
        return "not every evaluation kept counts by image"
    if student.ids != other.ids:
        return "the networks were scored on different images"
    if not same_masks(student, other):
        return "the networks were scored with different masks of these images"
    if uneven := in_one_mean(student.scores["iou"], other.scores["iou"]):
        return f"the means are of different classes. {only_one_predicts(uneven)}"
    few = len(student.ids)
    return f"{few} validation image{'s' * (few != 1)} {'are' if few != 1 else 'is'} too few" * (few < LEAST_IMAGES)


def only_one_predicts(classes: Sequence[str]) -> str:
    """Why two means do not compare: `in_one_mean`, as HTML without a stop at the end."""
    return f"No mask shows {', '.join(map(isolated, classes))}, and only one of the networks predicts it (IoU 0)"


def same_masks(one: Network, other: Network) -> bool:
    """Whether each image had as many pixels of each class when the networks were scored, as far as that is known."""
    return one.counts is None or other.counts is None or np.array_equal(one.counts[:, 1], other.counts[:, 1])


def masks_alone(run: Collected) -> Network | None:
    """The network that saw masks alone, like the student and for as many steps: the control, or such a teacher."""
    judged = {name: network for name, network in run.judged.items() if no_other_images(network)}
    if "baseline" in judged:
        return judged["baseline"]
    teacher, student = judged.get("teacher"), run.judged.get("student")
    return teacher if teacher and student and _alike(teacher, student) else None


def no_other_images(network: Network) -> bool:
    """Whether it learned from images with masks alone: methods such as mean_teacher take others as well."""
    return network.plan.get("images", {}).keys() <= {REAL}


def _alike(one: Network, other: Network) -> bool:
    """Whether both are the same network and took as many steps."""
    return one.steps == other.steps and one.done.get("network") == other.done.get("network")


def pixels_seen(network: Network) -> int | None:
    """Pixels of all crops that it has or will have trained on; None where nothing says it."""
    epochs = network.plan.get("epochs")
    return sum(steps * side**2 * crops for steps, side, crops in epochs) if epochs else None


def conclusion(run: Collected) -> str:
    """Paragraphs at the head of the page."""
    judged = run.judged
    count = _num_images(run)
    parts = []
    if "student" in judged:
        parts.append(f'<p class="lead">{_of_student(run, count)}</p>')
    elif judged:
        name, network = next(iter(judged.items()))
        found = f"The {name} reaches <b>{percent(network.scores['miou'])} % mIoU</b>{_on(count)}."
        yet = "There is no student yet to compare it with." if run.asks_for("student") else "This run has no student."
        parts.append(f'<p class="lead">{found} {yet}</p>')
    else:
        begun = ", ".join(run.networks) or "nothing"
        parts.append(
            f'<p class="lead">Nothing is evaluated yet. Begun: {escaped(begun)}. This page grows with the run.</p>'
        )
    parts += [f'<p class="caution">{text}</p>' for text in cautions(run, count)]
    return "\n".join(parts)


def _num_images(run: Collected) -> int | None:
    """Validation images that networks were scored on; before, those that there were when the run began."""
    scored = [network.scores["images"] for network in run.judged.values() if "images" in network.scores]
    told = (data.get("validation") for data in (run.results.get("data", {}), run.record.get("data", {})))
    return scored[-1] if scored else next(filter(None, told), None)


def cautions(run: Collected, count: int | None) -> list[str]:
    """What to be careful about; HTML."""
    found = []
    if count is not None and count < FEW_IMAGES:
        more = "For smaller intervals, prepare more validation images."
        wish = more if count >= LEAST_IMAGES else f"Intervals need {LEAST_IMAGES} validation images or more."
        found.append(f"Only {few_images(count)}. {wish}")
    if absent := _in_no_mask(run):
        more = f" and {len(absent) - _MOST_CLASSES} more" if len(absent) > _MOST_CLASSES else ""
        found.append(
            f"No validation mask shows {', '.join(map(isolated, absent[:_MOST_CLASSES]))}{more}. The mIoU says nothing "
            "about that. A network that predicts it there has a 0 in its mean."
        )
    if run.quality.get("warnings"):
        found.append(escaped(" ".join(["Pseudo labels:", *run.quality["warnings"]])))
    return found


def _in_no_mask(run: Collected) -> list[str]:
    """Classes of which the masks that networks were scored by have no pixel, as far as that is known."""
    for network in run.judged.values():
        if network.counts is not None:
            return [name for name, pixels in zip(run.classes, network.counts[:, 1].sum(0), strict=True) if not pixels]
    return []


def few_images(count: int) -> str:
    """What a few validation images can show."""
    told = "Trust only differences whose interval contains no zero" if count >= LEAST_IMAGES else "Trust no difference"
    return f"{count} validation image{'s' * (count != 1)}: other images could give other scores. {told}"


def _of_student(run: Collected, count: int | None) -> str:
    student, alone = run.judged["student"], masks_alone(run)
    other = alone or run.judged.get("baseline") or run.judged.get("teacher")
    own = f"The student reaches <b>{percent(student.scores['miou'])} % mIoU</b>{_on(count)}"
    if other is None:
        return f"{own}."
    difference = student.scores["miou"] - other.scores["miou"]
    masks = run.record.get("data", {}).get("labelled") or run.results.get("data", {}).get("labelled")
    trained = f", trained on {'the masks' if masks is None else f'{masks} masks'} alone" if other is alone else ""
    said = (
        f"{own}; the {other.name}{trained}, {percent(other.scores['miou'])} %. "
        f"That is <b>{points(difference)} points</b>"
    )
    if same_masks(student, other) and (uneven := in_one_mean(student.scores["iou"], other.scores["iou"])):
        why = f"but the two means are of different classes. {only_one_predicts(uneven)}"
        return f"{said}, {why}. {_of_both(student, other)}"
    found = gain(student, other)
    if found is None:
        return f"{said}. Whether that is significant is unknown: {why_not_told(student, other)}."
    # Of another network, or after more steps or pixels, the difference may be theirs.
    alike, times = other is alone and _alike(other, student), _times(student, other)
    as_many = times is not None and 1 / _AS_MANY <= times <= _AS_MANY
    told = _significance(found[0], difference, bool(run.labels) and alike and as_many)
    if found[0].sure and alike and times is not None and not as_many:
        told += f" The student trained on {times:.2g} times as many pixels as the {other.name}: that may be the cause."
    return f"{said} {told}{_classes(run.classes, student, other, found[1])}"


def _of_both(student: Network, other: Network) -> str:
    """The difference of the means over the classes of which both have a score."""
    pairs = [(own, other.scores["iou"].get(name)) for name, own in student.scores["iou"].items()]
    gains = [own - others for own, others in pairs if own is not None and others is not None]
    return f"Over the other classes it is <b>{points(sum(gains) / len(gains))} points</b>." if gains else ""


def _times(student: Network, other: Network) -> float | None:
    """How many times the other's pixels the student has seen: in larger crops, or in more of them a step."""
    seen, others = pixels_seen(student), pixels_seen(other)
    return seen / others if seen and others else None


def _classes(names: list[str], student: Network, other: Network, sure: list[Interval]) -> str:
    """The classes whose difference is significant, and large enough to be seen in the table."""
    found = [
        (name, student.scores["iou"][name] - other.scores["iou"][name])
        for name, interval in zip(names, sure, strict=True)
        if interval.sure and None not in (student.scores["iou"][name], other.scores["iou"][name])
    ]
    better = sorted((one for one in found if one[1] >= LEAST_DIFFERENCE), key=lambda one: -one[1])
    worse = sorted((one for one in found if one[1] <= -LEAST_DIFFERENCE), key=lambda one: one[1])
    text = f" Significantly better: {_listed(better)}." if better else ""
    return text + (f" Significantly worse: {_listed(worse)}." if worse else "")


def _listed(found: list[tuple[str, float]]) -> str:
    shown = ", ".join(f"{isolated(name)} {points(difference)}" for name, difference in found[:_MOST_CLASSES])
    more = len(found) - _MOST_CLASSES
    return f"{shown} and {more} more in the table" if more > 0 else shown


def _significance(found: Interval, difference: float, caused: bool) -> str:
    low, high = found.low, found.high
    interval = f"95 % interval {points(low)} to {points(high)}"
    if not found.sure:
        return f"({interval}), <b>no significant difference</b>."
    if not caused:
        return f"({interval}), a significant difference on these images."
    return f"({interval}): pseudo labels {'helped' if difference > 0 else 'did harm'} here."


def _on(count: int | None) -> str:
    return f" on {count:,} validation image{'s' * (count != 1)}" if count else ""
