"""What a run has shown, in a sentence or two, and what to be careful about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.reporting.certainty import LEAST_IMAGES, Interval, intervals
from csst_jax.reporting.markup import escaped, percent, points

if TYPE_CHECKING:
    from csst_jax.reporting.collected import Collected, Network

FEW_IMAGES = 50


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
    few = len(student.ids)
    return f"{few} validation image{'s' * (few != 1)} {'are' if few != 1 else 'is'} too few" * (few < LEAST_IMAGES)


def masks_alone(run: Collected) -> Network | None:
    """The network that saw masks alone, like the student and for as many steps: the control, or such a teacher."""
    judged = run.judged
    if "baseline" in judged:
        return judged["baseline"]
    teacher, student = judged.get("teacher"), judged.get("student")
    return teacher if teacher and student and _alike(teacher, student) else None


def _alike(one: Network, other: Network) -> bool:
    """Whether both are the same network and took as many steps."""
    return one.steps == other.steps and one.done.get("network") == other.done.get("network")


def conclusion(run: Collected) -> str:
    """Paragraphs at the head of the page."""
    judged = run.judged
    count = run.record.get("data", {}).get("validation") or run.results.get("data", {}).get("validation")
    parts = []
    if "student" in judged:
        parts.append(f'<p class="lead">{_of_student(run, count)}</p>')
    elif judged:
        name, network = next(iter(judged.items()))
        found = f"The {name} reaches <b>{percent(network.scores['miou'])} % mIoU</b>{_on(count)}."
        parts.append(f'<p class="lead">{found} There is no student yet to compare it with.</p>')
    else:
        begun = ", ".join(run.networks) or "nothing"
        parts.append(
            f'<p class="lead">Nothing is evaluated yet. Begun: {escaped(begun)}. This page grows with the run.</p>'
        )
    parts += [f'<p class="caution">{text}</p>' for text in cautions(run, count)]
    return "\n".join(parts)


def cautions(run: Collected, count: int | None) -> list[str]:
    """What to be careful about; HTML."""
    found = []
    if count is not None and count < FEW_IMAGES:
        found.append(f"Only {few_images(count)}. For smaller intervals, prepare more validation images.")
    if run.quality.get("warnings"):
        found.append(escaped(" ".join(["Pseudo labels:", *run.quality["warnings"]])))
    return found


def few_images(count: int) -> str:
    """What a few validation images can show."""
    told = "Trust only differences whose interval leaves out zero" if count >= LEAST_IMAGES else "Trust no difference"
    return f"{count} validation image{'s' * (count != 1)}: other images could give other scores. {told}"


def _of_student(run: Collected, count: int | None) -> str:
    student, other = run.judged["student"], masks_alone(run) or run.judged.get("teacher")
    own = f"The student reaches <b>{percent(student.scores['miou'])} % mIoU</b>{_on(count)}"
    if other is None:
        return f"{own}."
    difference = student.scores["miou"] - other.scores["miou"]
    masks = run.record.get("data", {}).get("labelled") or run.results.get("data", {}).get("labelled")
    trained = (
        f", trained on {'the masks' if masks is None else f'{masks} masks'} alone" if other is masks_alone(run) else ""
    )
    said = (
        f"{own}; the {other.name}{trained}, {percent(other.scores['miou'])} %. "
        f"That is <b>{points(difference)} points</b>"
    )
    found = gain(student, other)
    if found is None:
        return f"{said}. Nobody can tell whether that is significant: {why_not_told(student, other)}."
    # Of another network, or after more steps, the difference may be theirs.
    caused = bool(run.labels) and other is masks_alone(run) and _alike(other, student)
    return f"{said} {_significance(found[0], difference, caused)}{_classes(run.classes, student, other, found[1])}"


def _classes(names: list[str], student: Network, other: Network, sure: list[Interval]) -> str:
    """The classes whose difference is significant."""
    found = [
        (name, student.scores["iou"][name] - other.scores["iou"][name])
        for name, interval in zip(names, sure, strict=True)
        if interval.sure and None not in (student.scores["iou"][name], other.scores["iou"][name])
    ]
    better = [f"{escaped(n)} {points(d)}" for n, d in sorted(found, key=lambda item: -item[1]) if d > 0]
    worse = [f"{escaped(n)} {points(d)}" for n, d in sorted(found, key=lambda item: item[1]) if d < 0]
    text = f" Significantly better: {', '.join(better)}." if better else ""
    return text + (f" Significantly worse: {', '.join(worse)}." if worse else "")


def _significance(found: Interval, difference: float, caused: bool) -> str:
    low, high = found.low, found.high
    interval = f"95 % interval {points(low)} to {points(high)}"
    if not found.sure:
        return f"({interval}), <b>no significant difference</b>."
    if not caused:
        return f"({interval}), a significant difference on these images."
    return f"({interval}): pseudo labels {'helped' if difference > 0 else 'did harm'} here."


def _on(count: int | None) -> str:
    return f" on {count} validation images" if count else ""
