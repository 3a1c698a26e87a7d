"""Rebuilds the centroid index of a prepared data set from the labels it stores now.

python -m data_prep.reindex --data_dir=DIR
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Sequence

from csst_jax.data.stored import centroid_index, encoded, store
from data_prep import cli, workers


def components(image: tuple[str, bytes], num_classes: int) -> tuple[str, bytes, centroid_index.Found]:
    """(id, encoded label) with the label's components, for a worker."""
    image_id, label = image
    return image_id, label, centroid_index.find(image_id, encoded.decode_label(label), num_classes)


def rebuild(directory: pathlib.Path, num_workers: int = 1) -> None:
    """Rebuilds the index of every split and the hashes in `dataset.json`, each file atomically.

    Args:
      directory: as for `DataSet.open`.
      num_workers: processes; the index does not depend on it.

    Raises:
      CsstError: no prepared data set there, or a stored label holds a value that is no class.
    """
    data_set = store.DataSet.open(directory)
    metadata_file = data_set.directory / store.METADATA_FILE
    metadata = json.loads(metadata_file.read_text(encoding="utf-8"))
    num_classes = len(data_set.description.classes)
    for split in data_set.splits:
        builder = centroid_index.IndexBuilder(num_classes)
        source = data_set.reader(split)
        labels = ((image_id, source.label_bytes(record)) for record, image_id in enumerate(data_set.ids(split)))
        find = functools.partial(components, num_classes=num_classes)
        for record, (image_id, label, found) in enumerate(workers.ordered_map(find, labels, num_workers)):
            builder.add_found(record, image_id, found, label)
        index = builder.finish()
        centroid_index.write(store.index_path(data_set.directory, split), index)
        metadata["splits"][split]["labels_sha256"] = index.labels_sha256
        print(f"{data_set.description.name}: {split}: {len(index)} components of {len(index.ids)} images")
    unfinished = metadata_file.with_name(f".{metadata_file.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, metadata_file)
    finally:
        unfinished.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see the module's docstring."""
    arguments = cli.parser(__doc__)
    arguments.add_argument("--data_dir", type=cli.path, required=True, help="directory of the prepared data set")
    workers.add_argument(arguments)
    flags = arguments.parse_args(argv)
    rebuild(flags.data_dir, flags.num_workers)


if __name__ == "__main__":
    cli.run(main)
