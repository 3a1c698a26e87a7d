"""How good the pseudo labels are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csst_jax.reporting.markup import embedded, escaped, folded, number, percent, section, table
from csst_jax.runtime.workdir import LABELS, SHEET_FILE

if TYPE_CHECKING:
    from csst_jax.reporting.collected import Collected


def quality(run: Collected) -> str:
    """Shares and confidence by class; precision and recall where the pool's masks are there."""
    found, checked = run.labels, run.quality.get("checked", {})
    if not found.get("class_share"):
        return ""
    void, masks, kept = (
        found.get("ignored_share"),
        run.quality.get("masks_share", {}),
        run.quality.get("labels_share", {}),
    )
    facts = [f"{found['images']:,} images." if "images" in found else ""]
    if void is not None:
        facts.append(f"{percent(void)} % of the pixels are void: the teacher is too uncertain there.")
    if checked:
        facts.append(
            f"{checked['images']} images of the pool have masks that the run does not train on. By them "
            f"{percent(checked['accuracy'])} % of the pixels that have a label have the right one. Precision is the "
            "share of a class's labels that are right. Recall is the share of its pixels that have its label."
        )
    header = ["class", *([">masks, %"] if masks else []), ">predicted, %", *([">labels, %"] if kept else [])]
    header += [">mean confidence, %", *([">precision, %", ">recall, %"] if checked else [])]
    rows = []
    for name, share in found["class_share"].items():
        cells = [escaped(name), *([number(percent(masks.get(name), 2))] if masks else [])]
        missing = masks and not share and masks.get(name)
        cells += [number(percent(share, 2), "down" if missing else "")]
        cells += [number(percent(kept.get(name), 2))] if kept else []
        cells += [number(percent(found.get("mean_confidence", {}).get(name)))]
        if checked:
            cells += [number(percent(checked[key].get(name))) for key in ("precision", "recall")]
        rows.append((cells, ""))
    note = "Shares of the pixels in the masks, in the teacher's predictions, and in the labels that are left."
    sheet = embedded(run.workdir / LABELS / SHEET_FILE, 1400, "pseudo labels and their confidence")
    return section(
        "Pseudo labels",
        f'<p class="note">{" ".join(filter(None, facts))}</p>',
        table(header, rows),
        f'<p class="note">{note}</p>' if kept else "",
        folded("Images, pseudo labels and confidence", sheet),
        name="labels",
    )
