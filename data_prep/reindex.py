"""Rebuilds the centroid index of a prepared data set from the labels it stores now.

python -m data_prep.reindex --data_dir=DIR
"""

from __future__ import annotations

import io
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from csst_jax.data import centroid_index, store
from data_prep import cli


def rebuild(directory: pathlib.Path) -> None:
    """Rebuilds the index of every split and the hashes in `dataset.json`, each file atomically.

    Args:
      directory: as for `DataSet.open`.

    Raises:
      CsstError: no prepared data set there, or a stored label holds a value that is no class.
    """
    data_set = store.DataSet.open(directory)
    metadata_file = data_set.directory / store.METADATA_FILE
    metadata = json.loads(metadata_file.read_text(encoding="utf-8"))
    for split in data_set.splits:
        builder = centroid_index.IndexBuilder(len(data_set.description.classes))
        source = data_set.source(split)
        for record, image_id in enumerate(data_set.ids(split)):
            label_bytes = source.label_bytes(record)
            builder.add(record, image_id, np.asarray(Image.open(io.BytesIO(label_bytes))), label_bytes)
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
    arguments.add_argument("--data_dir", type=pathlib.Path, required=True, help="directory of the prepared data set")
    rebuild(arguments.parse_args(argv).data_dir)


if __name__ == "__main__":
    cli.run(main)
