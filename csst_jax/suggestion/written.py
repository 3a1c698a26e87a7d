"""What a suggestion leaves on the disk: a list, copies of the images, and a contact sheet."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from csst_jax.data.stored.encoded import decode_rgb
from csst_jax.evaluation.pictures import colour, colour_confidence, contact_sheet
from csst_jax.runtime.json_files import read_json, write_json
from csst_jax.runtime.storage import replacing
from csst_jax.runtime.workdir import SHEET_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from csst_jax.data.selection import Selection
    from csst_jax.runtime.storage import StoragePath
    from csst_jax.suggestion.look import Looker
    from csst_jax.suggestion.pool import Suggestion

LIST_FILE = "suggested.txt"
DETAILS_FILE = "suggested.json"
IMAGES = "images"
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png"}


def write(
    output: StoragePath, pool: Selection, looker: Looker, suggestions: Sequence[Suggestion], weights_sha256: str
) -> list[StoragePath]:
    """Writes all of it; copies of an earlier suggestion in the same directory are removed, and no other file.

    A copy is known by its hash: a mask that was saved under the name of a copy is neither removed nor replaced.

    Args:
      output: the directory.
      pool: the training split.
      looker: the network that judged, for the pictures.
      suggestions: the most useful first.
      weights_sha256: hash of its weights.

    Returns:
      Files that have the name of a copy and another content; they are as they were.
    """
    details = output / DETAILS_FILE
    # Earlier versions recorded no hashes: what cannot be told from a mask stays.
    before = read_json(details)["suggested"] if details.exists() else []
    copies = {entry["image"]: entry.get("sha256") for entry in before}
    entries: list[dict[str, Any]] = []
    kept: list[StoragePath] = []
    for suggestion in suggestions:
        suffix, content = _picture(pool.reader.image_bytes(suggestion.record))
        name, sha256 = f"{IMAGES}/{suggestion.id}{suffix}", hashlib.sha256(content).hexdigest()
        if _is_other(output / name, (sha256, copies.pop(name, None))):
            kept.append(output / name)
        else:
            with replacing(output / name) as made:
                made.write_bytes(content)
        described = dataclasses.asdict(suggestion)
        del described["record"]
        entries.append(described | {"image": name, "sha256": sha256})
    for name, known in copies.items():
        if _is_other(output / name, (known,)):
            kept.append(output / name)
        else:
            (output / name).unlink(missing_ok=True)
    _draw(output / SHEET_FILE, pool, looker, suggestions)
    write_json(details, {"split": pool.split, "weights_sha256": weights_sha256, "suggested": entries})
    with replacing(output / LIST_FILE) as made:
        made.write_text("".join(f"{suggestion.id}\n" for suggestion in suggestions), encoding="utf-8")
    return kept


def _is_other(path: StoragePath, hashes: Sequence[str | None]) -> bool:
    """Whether there is a file that has none of these hashes."""
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() not in hashes


def table(suggestions: Sequence[Suggestion]) -> str:
    """The suggestions for the terminal, a line each."""
    width = max(len("image"), *(len(suggestion.id) for suggestion in suggestions))
    lines = [f"{'':>4}  {'image':<{width}}  uncertain  networks differ  unlike the labelled"]
    for rank, suggestion in enumerate(suggestions, 1):
        differ = "–" if suggestion.disagreement is None else f"{100 * suggestion.disagreement:.1f} %"
        lines.append(
            f"{rank:>4}  {suggestion.id:<{width}}  {suggestion.uncertainty:9.3f}  {differ:>15}  "
            f"{suggestion.distance:19.2f}"
        )
    return "\n".join(lines)


def places(output: StoragePath, longest_side: int) -> str:
    """Where all of it lies, for the terminal.

    Args:
      output: the directory.
      longest_side: that the data set's images were made smaller to; 0 if they were not.
    """
    lines = [f"list      {output / LIST_FILE}", f"images    {output / IMAGES}", f"pictures  {output / SHEET_FILE}"]
    if longest_side:
        lines.append(
            f"These images have a longer side of at most {longest_side} px. Draw the masks on the photos that you gave "
            "to data_prep.folder, because a mask must have the size of its photo."
        )
    return "\n".join(lines)


def _picture(stored: bytes) -> tuple[str, bytes]:
    """Suffix and content of a file that any tool opens: a stored JPEG or PNG as it is, tiles as PNG."""
    if suffix := _SUFFIXES.get(stored[:2]):
        return suffix, stored
    buffer = io.BytesIO()
    Image.fromarray(decode_rgb(stored)).save(buffer, "PNG")
    return ".png", buffer.getvalue()


def _draw(path: StoragePath, pool: Selection, looker: Looker, suggestions: Sequence[Suggestion]) -> None:
    """A row for each image: itself, what the network sees, and where it is uncertain."""
    description = pool.dataset.description
    rows = []
    for rank, suggestion in enumerate(suggestions, 1):
        image = decode_rgb(pool.reader.image_bytes(suggestion.record))
        seen = looker(image)
        uncertain = f"uncertainty {suggestion.uncertainty:.2f} in the mean (yellow: 1)"
        rows.append(
            [
                (f"{rank}. {suggestion.id}", image),
                ("prediction", colour(seen.classes, description.palette)),
                (uncertain, colour_confidence(seen.entropy)),
            ]
        )
    contact_sheet(rows, path, description=description)
