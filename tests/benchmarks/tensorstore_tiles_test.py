"""The comparison with TensorStore: small images, the same pixels from every form."""

import numpy as np

from benchmarks import street_sized, tensorstore_tiles


def noise(seed):
    """Rows that are alike, so that their differences are small."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(-1, 2, (256, 384, 3)), axis=0).astype(np.uint8)


def test_every_form_reads_the_same_windows(monkeypatch, capsys):
    monkeypatch.setattr(street_sized, "HEIGHT", 256)
    monkeypatch.setattr(street_sized, "WIDTH", 384)
    monkeypatch.setattr(street_sized, "image", noise)
    monkeypatch.setattr(tensorstore_tiles, "CROP_PX", 100)
    assert tensorstore_tiles.main(["--images=2", "--windows=20"]) == 0  # it compares what it reads
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows] == [*(f"| {form}" for form in tensorstore_tiles.FORMS), "| tiles"]


def test_windows_lie_in_the_image_and_differ():
    found = tensorstore_tiles.windows(50)
    assert all(0 <= w.top <= street_sized.HEIGHT - w.height and w.height <= street_sized.HEIGHT for w in found)
    assert all(0 <= w.left <= street_sized.WIDTH - w.width for w in found)
    assert min(w.height for w in found) < 500 and len(set(found)) == 50
