"""The benchmark of soft labels: every form is written, cut and told."""

import numpy as np

from benchmarks import soft_labels
from csst_jax.data.stored import tiles
from csst_jax.evaluation.whole_image import Prediction

SIZE = (140, 150)


class Images:
    def image_bytes(self, record):
        return tiles.encode(np.full((*SIZE, 3), record, np.uint8))


def prediction(record):
    p = np.random.default_rng(record).dirichlet(np.full(6, 0.3), SIZE).astype(np.float32)
    order = np.argsort(-p, -1).astype(np.uint8)
    ranks = [(order[..., n], np.take_along_axis(p, order[..., n, None], -1)[..., 0]) for n in range(5)]
    first, second, *further = ranks
    return Prediction(record, np.zeros((*SIZE, 3), np.uint8), *first, *second, tuple(x for r in further for x in r))


def test_every_form_is_measured(tmp_path, capsys):
    found = soft_labels.compared(tmp_path, Images(), [prediction(3), prediction(5)], 6, crops=2, pairs=1)
    assert list(found) == ["float32_bytes", "hard", "k2_8", "k3_8", "k3_4", "k3_2", "k5_8"]
    sizes = {name: found[name]["bytes_a_pixel"] for name in list(found)[1:]}
    assert sizes["hard"] < sizes["k3_2"] < sizes["k3_4"] < sizes["k3_8"] < sizes["k5_8"] < found["float32_bytes"] == 24
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == ["hard", "2", "3", "3", "3", "5"]
    assert {len(row) for row in rows} == {8} and rows[2][6].strip() == "1.00"
