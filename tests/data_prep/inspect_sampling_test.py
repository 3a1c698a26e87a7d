"""What an epoch would see: counts that add up, and the ring at the point that a crop was drawn around."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from csst_jax import build, command_line
from csst_jax.data.sampling import readers
from csst_jax.data.stored import centroid_index, encoded, pseudo_labels
from csst_jax.samplers import SAMPLERS
from csst_jax.settings import resolve
from csst_jax.types import CsstError
from data_prep import inspect_sampling


def flags(data_dir, *more):
    return ["--config=configs/demo.py", f"--config.data.dir={data_dir}", "--config.teacher.crop_px=64",
            "--config.teacher.samples_per_epoch=16", "--config.student.crop_px=64",
            "--config.student.samples_per_epoch=0", *more]  # fmt: skip


def test_table_and_pictures(tiny_data, tmp_path, capsys):
    inspect_sampling.main(flags(tiny_data, f"--out_dir={tmp_path}", "--num_crops=8"))
    output = capsys.readouterr().out
    assert "4 real labels; an epoch of 16 crops of 64 px, of which the first 8 were cut" in output
    lines = [line.split() for line in output.splitlines()]
    (head,) = (words for words in lines if words[:1] == ["class"])
    names = [name[:10] for name in SAMPLERS]
    assert head == ["class", *names * 3]
    rows = {words[0]: words[1:] for words in lines if len(words) == len(head) and words != head}
    assert set(rows) == {"ground", "box", "post", "sign"}
    papers = [names.index(name) for name in ("centroid", "class_unif", "uniform")]
    parts = np.array([[float(figure) for figure in row] for row in rows.values()]).reshape(4, 3, len(names))
    figures = parts[:, :, papers].reshape(4, 9)
    np.testing.assert_array_equal(figures[:, :3], [[4, 2, 0]] * 4)
    np.testing.assert_allclose(figures[:, 6:].sum(0), 100, atol=0.05)
    assert (figures[:, 3:6] <= 100).all() and (figures[0, 3:6] > 50).all(), "the ground is nearly everywhere"
    assert figures[3, 3] > 0 and figures[3, 6] < figures[0, 6], "signs are small"
    with Image.open(tmp_path / "sampling.png") as bars, Image.open(tmp_path / "crops.png") as crops:
        assert bars.width == 916 and crops.width == 6 * 248 + 8


def test_the_ring_is_at_the_point(tiny_data, monkeypatch):
    """Signs are squares of 12 px: the pixel in the ring's middle is of the class that the crop was drawn for."""
    rings = []
    monkeypatch.setattr(inspect_sampling.pictures, "overlay", lambda image, label, palette: label)
    monkeypatch.setattr(inspect_sampling.pictures, "mark", lambda label, y, x: rings.append((label, y, x)))
    monkeypatch.setattr(inspect_sampling, "_CROPS_SHOWN", 24)
    config = build_config(tiny_data)
    run = resolve.run(config)
    pool = run.data.training(run.data.open())
    images = build.images(run.teacher, pool)
    description = pool.dataset.description
    epoch = inspect_sampling.see(
        build.samplers(run.teacher, images, description.classes)["labelled"],
        readers(images),
        description,
        seed=0,
        num_samples=24,
        num_cut=24,
        crop_px=64,
        scale_range=(0.5, 2.0),
    )
    assert epoch.drawn_for.tolist() == [6] * 4
    drawn_for = [caption.split(",")[0] for caption, _ in epoch.pictures]
    hit = [
        label[round(y), round(x)] == 3 for name, (label, y, x) in zip(drawn_for, rings, strict=True) if name == "sign"
    ]
    assert len(hit) == 6 and all(hit)


def build_config(data_dir):
    parsed = command_line.parse_with_config(inspect_sampling._arguments(), flags(data_dir, "--out_dir=x"))
    return parsed[1]


def test_a_students_epoch_has_pseudo_labels(tiny_data, tmp_path, capsys, monkeypatch):
    config = build_config(tiny_data)
    run = resolve.run(config)
    pool = run.data.training(run.data.open())

    def read(directory, selection, shard_size):
        assert directory == tmp_path / "pseudo_labels" and shard_size == config.label.shard_size
        label = encoded.encode_label(np.full((96, 128), 2, np.uint8))
        directory.mkdir()
        pseudo_labels.write_shard(pseudo_labels.shard_path(directory, 0, 1), [label] * 4)
        found = pseudo_labels.PseudoLabelled(directory, pool.reader, selection.unlabelled, shard_size)
        builder = centroid_index.IndexBuilder(4)
        for record in range(4):
            builder.add(record, f"{record}", encoded.decode_label(label), label)
        return found, builder.finish()

    monkeypatch.setattr("csst_jax.stages.label.read", read)
    arguments = flags(tiny_data, f"--out_dir={tmp_path}", f"--workdir={tmp_path}", "--num_crops=8")
    assert config.student.method.name == "real_and_pseudo"
    inspect_sampling.main(arguments)
    output = capsys.readouterr().out
    assert "real: 4 real labels; an epoch of 4 crops of 64 px" in output
    _, of_pseudo = output.split("pseudo: 4 pseudo labels; an epoch of 4 crops of 64 px, of which the first 4 were cut")
    figures = {words[0]: words[1:] for words in map(str.split, of_pseudo.splitlines()) if words}
    assert figures["post"][0] == "4" and figures["ground"][0] == "0", "the pseudo labels are posts"
    with Image.open(tmp_path / "sampling.png") as both:
        height = both.height
    shutil.rmtree(tmp_path / "pseudo_labels")
    inspect_sampling.main([*arguments, "--config.student.method.name=supervised"])
    assert "\n4 real + 4 pseudo labels; an epoch of 8 crops of 64 px" in "\n" + capsys.readouterr().out
    with Image.open(tmp_path / "sampling.png") as one:
        assert height > 1.9 * one.height


def test_bad_input(tiny_data, tmp_path):
    with pytest.raises(CsstError, match=re.escape("--num_crops=0 must be 1 or more")):
        inspect_sampling.main(flags(tiny_data, f"--out_dir={tmp_path}", "--num_crops=0"))
    with pytest.raises(CsstError, match=r"labels-00000-of-00001.array_record is missing"):
        inspect_sampling.main(flags(tiny_data, f"--out_dir={tmp_path}", f"--workdir={tmp_path}"))
