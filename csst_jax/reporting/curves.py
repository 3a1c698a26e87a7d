"""What happened while the stages trained, and what their samplers drew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.reporting import charts
from csst_jax.reporting.charts import COLOURS
from csst_jax.reporting.markup import embedded, escaped, section

if TYPE_CHECKING:
    from csst_jax.reporting.collected import Collected, Network


def learning(run: Collected) -> str:
    """Loss, learning rate, crops and batches (the paper's Fig. 5), and scores of a few validation images."""
    networks = {name: network for name, network in run.networks.items() if network.lines}
    colours = [COLOURS[name] for name in networks]

    def curve(key: str) -> dict[str, charts.Points]:
        return {n: [(line["step"], line.get(key)) for line in network.lines] for n, network in networks.items()}

    watched = {name: network for name, network in run.networks.items() if network.watched.get("scores")}
    scores = {n: [(s["step"], 100 * s["miou"]) for s in network.watched["scores"]] for n, network in watched.items()}
    parts = [
        charts.lines("Loss", curve("loss"), colours),
        charts.lines(
            "mIoU of a few validation images, %", scores, [COLOURS[name] for name in watched], unit=" %", dots=True
        ),
        charts.lines("Learning rate", curve("learning_rate"), colours, from_zero=True),
        charts.lines("Side of the crops, px", _sizes(run, 1) or curve("crop_px"), colours, from_zero=True),
        charts.lines("Crops a step", _sizes(run, 2) or curve("global_batch"), colours, from_zero=True),
    ]
    note = (
        f'<p class="note">Scores while training are of {_watched(watched)}, always the same. They choose '
        "neither weights nor the end of training, and differ from the final scores, which are of all images. The "
        "horizontal axis is the step.</p>"
        if watched
        else '<p class="note">The horizontal axis is the step.</p>'
    )
    shown = "".join(part for part in parts if part)
    strips = "".join(_strip(run, network) for network in watched.values())
    return section(
        "Learning curves",
        note if shown else "",
        f'<div class="charts">{shown}</div>' if shown else "",
        strips,
        name="curves",
    )


def _watched(networks: dict[str, Network]) -> str:
    """How many images are scored while the stages train, which may be more in a longer stage."""
    counts = {name: len(network.watched["images"]) for name, network in networks.items()}
    if len(set(counts.values())) == 1:
        count = next(iter(counts.values()))
        return f"{count} validation image{'s' * (count != 1)}"
    return f"a few validation images ({', '.join(f'{name} {count}' for name, count in counts.items())})"


def _sizes(run: Collected, column: int) -> dict[str, charts.Points]:
    """Steps in the curve of what an epoch has (`plan.json`); {} where a plan is missing."""
    found = {}
    for name, network in run.networks.items():
        if not network.lines:
            continue
        if "epochs" not in network.plan:
            return {}
        points: charts.Points = []
        step = 0
        for epoch in network.plan["epochs"]:
            if not points or points[-1][1] != epoch[column]:
                points += [(step, epoch[column])]
            step += epoch[0]
            points.append((step, epoch[column]))
        found[name] = [p for i, p in enumerate(points) if i in (0, len(points) - 1) or not _between(points, i)]
    return found


def _between(points: charts.Points, i: int) -> bool:
    """Whether a point lies on a level line between its neighbours."""
    return points[i - 1][1] == points[i][1] == points[i + 1][1]


def _strip(run: Collected, network: Network) -> str:
    """One image at each score: how the prediction came to be."""
    directory = run.workdir / network.name / "while_training"
    figures = [(embedded(directory / f"0_{kind}.png", 300, kind), kind) for kind in ("image", "mask")]
    for score in network.watched["scores"]:
        figures.append((embedded(directory / f"0_{score['step']:08d}.png", 300), f"step {score['step']:,}"))
    made = "".join(
        f"<figure>{picture}<figcaption>{words}</figcaption></figure>" for picture, words in figures if picture
    )
    image = network.watched.get("shown", [""])[0]
    return f'<h3>{escaped(network.name)} at image {escaped(image)}</h3><div class="strip">{made}</div>' if made else ""


def draws(run: Collected) -> str:
    """How often an epoch draws each class, beside the class's share of the masks' pixels."""
    shown = []
    pixels = run.quality.get("masks_share") or run.record.get("data", {}).get("class_share", {})
    for name, network in run.networks.items():
        for stream, counts in network.plan.get("class_draws", {}).items():
            total = sum(counts.values())
            series = {"crops around it": [100 * count / total for count in counts.values()]}
            if pixels:
                series["pixels in masks"] = [100 * (pixels.get(klass) or 0) for klass in counts]
            title = f"{name}: {total:,} crops of the stream “{stream}” in the first epoch, %"
            shown.append(charts.bars(title, list(counts), series, [COLOURS[name], "#c9ced6"]))
    note = '<p class="note">The sampler draws rare classes more often than their share of the pixels.</p>'
    return section(
        "Classes under the sampler",
        note if shown else "",
        f'<div class="charts">{"".join(shown)}</div>' if shown else "",
        name="draws",
    )
