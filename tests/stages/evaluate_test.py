"""The images of a split are shared among processes, and what is counted adds up."""

import types

import jax
import numpy as np

from csst_jax.data.stored.encoded import encode_label
from csst_jax.evaluation.whole_image import Prediction
from csst_jax.stages import evaluate
from csst_jax.stages.evaluate import Judge


def test_each_image_is_predicted_by_one_process(monkeypatch):
    """Image 7 has no mask: it is predicted, and not scored."""
    label = np.array([[0, 0, 1, 255]], np.uint8)
    selection = types.SimpleNamespace(
        labelled=(3, 4, 6),
        dataset=types.SimpleNamespace(description=types.SimpleNamespace(classes=("road", "car"))),
        reader=types.SimpleNamespace(label_bytes=lambda record: encode_label(label)),
        ids=lambda records: tuple(map(str, records)),
    )
    judge = Judge(types.SimpleNamespace(boundary_ratio=0.0), None, selection)

    def predicted(own, trained, records):
        classes = {3: [0, 0, 1, 1], 4: [0, 1, 1, 1], 6: [0, 0, 0, 0], 7: [0, 0, 0, 0]}
        return (Prediction(r, None, np.array([classes[r]], np.uint8), None) for r in records)

    monkeypatch.setattr(Judge, "_predict", predicted)
    whole = judge.score(None, (3, 4, 6, 7))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    counted, written = [], []

    def kept(counts):
        counted.append(counts)
        return np.stack(counted)

    monkeypatch.setattr(evaluate.peers, "counts_of_all", kept)
    for process in range(2):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        found = judge.score(None, (3, 4, 6, 7), [lambda prediction: written.append(prediction.record)])
    assert found == whole and whole["confusion"] == [[5, 1], [1, 2]]
    assert sorted(written) == [3, 4, 6, 7]
