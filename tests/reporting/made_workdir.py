"""Workdirs of runs that never were, as a report reads them."""

import json
import types

import numpy as np

from csst_jax.stages import gallery

CLASSES = ("Sky", "Pole", "<Bus>")
PALETTE = ((70, 130, 180), (153, 153, 153), (0, 60, 100))
NUM_IMAGES = 12


def counts(share):
    """int64 [n, 3, c]: a network that has this share of each class's pixels right in every image, more or less."""
    rng = np.random.default_rng(5)
    truth = rng.integers(400, 600, (NUM_IMAGES, 3))
    truth[:, 2] = 0  # nowhere
    right = (truth * np.clip(share + rng.normal(0, 0.02, truth.shape), 0, 1)).astype(np.int64)
    return np.stack([right, truth, truth], axis=1)


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def network(workdir, name, share, steps=40):
    """A finished and evaluated stage."""
    found = counts(share)
    intersection, truth, predicted = found.sum(0)
    iou = [i / (t + p - i) if t else None for i, t, p in zip(intersection, truth, predicted, strict=True)]
    shown = [value for value in iou if value is not None]
    put(workdir / name / "stage.json", {})
    put(
        workdir / name / "plan.json",
        {
            "network": "fast_scnn",
            "steps": steps,
            "epochs": [[steps // 2, 64, 16], [steps // 2, 128, 4]],
            "images": {"real": 3},
            "class_draws": {"labelled": {"Sky": 5, "Pole": 7, "<Bus>": 0}},
        },
    )
    compiled = {"crop_px": 64, "global_batch": 16, "seconds": 19.46, "flops": 3.5e9, "memory_bytes": 150 * 2**20}
    compilations = {"count": 1, "phases": [compiled]}
    put(
        workdir / name / "DONE",
        {"network": "fast_scnn", "steps": steps, "wall_s": 100.0, "compilations": compilations},
    )
    lines = [{"step": s, "loss": 2 / s, "learning_rate": 0.01, "crop_px": 64, "global_batch": 16} for s in (20, 40)]
    text = "\n".join(map(json.dumps, [*lines, {"step": 40, "score_miou": 0.4}]))
    (workdir / name / "metrics.jsonl").write_text(text + '\n{"step": 60, "lo', encoding="utf-8")
    scores = [{"step": 20, "epoch": 1, "miou": 0.3}, {"step": 40, "epoch": 2, "miou": 0.4}]
    put(workdir / name / "while_training" / "scores.json", {"images": ["a", "b"], "shown": ["a"], "scores": scores})
    matrix = np.diag(intersection).tolist()
    done = {"miou": float(np.mean(shown)), "iou": dict(zip(CLASSES, iou, strict=True)), "pixel_accuracy": 0.9}
    put(workdir / name / "evaluation" / "DONE", {**done, "confusion": matrix, "images": NUM_IMAGES})
    put_counts(workdir / name / "evaluation" / "images.npz", found)


def put_counts(path, found):
    """What an evaluation counted, image by image."""
    np.savez_compressed(path, counts=found, ids=np.array([f"image{i}" for i in range(NUM_IMAGES)]))


def labels(workdir):
    """A finished label stage."""
    share = {"Sky": 0.6, "Pole": 0.0031, "<Bus>": 0.0}
    confidence = {"Sky": 0.97, "Pole": 0.4, "<Bus>": None}
    put(
        workdir / "pseudo_labels" / "DONE",
        {"images": 321, "class_share": share, "mean_confidence": confidence, "ignored_share": 0.25, "wall_s": 50.0},
    )
    put(
        workdir / "pseudo_labels" / "quality.json",
        {
            "masks_share": {"Sky": 0.5, "Pole": 0.1, "<Bus>": 0.01},
            "labels_share": share,
            "void": 0.25,
            "teacher": None,
            "checked": {"images": 9, "accuracy": 0.8, "precision": {"Sky": 0.9}, "recall": {"Sky": 0.7}},
            "warnings": ["The teacher never predicts <Bus>, which the masks show."],
        },
    )


def begun(workdir):
    """What a run writes before its first stage."""
    put(workdir / "config.json", {"stages": "teacher,label,student,evaluate", "seed": 0})
    data = {"name": "streets", "labelled": 3, "unlabelled": 321, "validation": NUM_IMAGES, "sizes": "64 × 48 px"}
    put(
        workdir / "run.json",
        {
            "data": {**data, "classes": CLASSES, "palette": PALETTE, "class_share": {"Sky": 0.5}},
            "command": "python -m csst_jax.main --workdir=<there>",
            "begun": "2026-01-02 03:04:05",
            "versions": {"jax": "0.10"},
        },
    )


def pictures(workdir):
    """A gallery of two images, and a worst one."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(3):
        label = np.repeat(np.repeat(rng.integers(0, 3, (6, 8)), 8, 0), 8, 1).astype(np.uint8)
        label[0] = 255
        predictions = {name: np.where(rng.random(label.shape) < 0.1, 0, label % 3) for name in ("teacher", "student")}
        predictions = {name: classes.astype(np.uint8) for name, classes in predictions.items()}
        image = rng.integers(0, 255, (*label.shape, 3)).astype(np.uint8)
        found.append(types.SimpleNamespace(record=i, id=f"image{i}", image=image, label=label, predictions=predictions))
    gallery.write(workdir, found[:2], found[2:], {2: "image2: Pole IoU 3 %"}, PALETTE)


def whole(workdir, student=0.8):
    """A finished run."""
    begun(workdir)
    network(workdir, "teacher", 0.7)
    labels(workdir)
    network(workdir, "student", student)
    pictures(workdir)
    put(workdir / "results.json", {"wall_s": {"teacher": 100.0, "student": 1250.0}})
    return workdir


def changed(path, **values):
    put(path, json.loads(path.read_text()) | values)
