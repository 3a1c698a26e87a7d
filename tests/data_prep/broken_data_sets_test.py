"""Prepared data sets that are broken, or unfit to train on, each with what the doctor tells."""

import json
import shutil

import numpy as np
import pytest

from csst_jax.data import store
from csst_jax.types import CsstError, DatasetDescription
from data_prep import builder, check, raw
from tests.data_prep.breaking import (
    CLASSES,
    HEIGHT,
    WIDTH,
    file,
    flipped,
    gone,
    mask,
    photo,
    put,
    rewritten,
)

DESCRIPTION = DatasetDescription("broken", CLASSES, ((9, 9, 9), (255, 0, 0), (0, 0, 255)))
VOID = np.full((HEIGHT, WIDTH), 255, np.uint8)


def example(name, seed, label):
    """An image of `seed` with a label; with a whole one for None, without a mask for False."""
    labels = {None: mask(), False: VOID}
    return raw.RawExample(
        name, file(photo(seed)), label if isinstance(label, np.ndarray) else labels[label], label is not False
    )


def whole(where):
    examples = {
        split: [example(f"{split}{i}", 10 * k + i, None) for i in range(3)] for k, split in enumerate(("train", "val"))
    }
    return builder.prepare(DESCRIPTION, examples, where, source_sha256="whole")


@pytest.fixture(scope="module")
def whole_data(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("whole"))


def doctor(capsys, *flags):
    """What `data_prep.check` tells, and its status: what it prints, or the error that it ends with."""
    try:
        status = check.main(["--num_workers=1", *flags])
    except CsstError as error:
        return str(error), 2
    return capsys.readouterr().out, status


def stored(spoil, *flags, status=1):
    """Checking a whole prepared data set that `spoil` was let at; it may return another directory to look in."""

    def case(where, whole_data, capsys):
        directory = where / "data" / "broken" / "1.0.0"
        shutil.copytree(whole_data, directory)
        given = (spoil(directory) if spoil else None) or directory
        own = [flag.format(where=where, given=given) for flag in flags] or [f"--data_dir={given}"]
        text, found = doctor(capsys, *own)
        assert found == status, text
        return text

    return case


WHOLE = (None,)


def prepared(train, val=WHOLE, status=1):
    """Checking a data set of these labels, or pairs of a seed of the image and a label (None: a whole one)."""

    def case(where, whole_data, capsys):
        examples = {}
        for k, (split, members) in enumerate((("train", train), ("val", val))):
            pairs = [m if isinstance(m, tuple) else (10 * k + i, m) for i, m in enumerate(members)]
            examples[split] = [example(f"{split}{i}", *pair) for i, pair in enumerate(pairs)]
        data = builder.prepare(DESCRIPTION, examples, where, source_sha256="")
        capsys.readouterr()
        text, found = doctor(capsys, f"--data_dir={data}")
        assert found == status, text
        return text

    return case


def metadata(change):
    """Changes dataset.json."""

    def spoil(directory):
        path = directory / store.METADATA_FILE
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return spoil


def two_data_sets(directory):
    shutil.copytree(directory, directory.parent.parent / "other" / "1.0.0")
    return directory.parent.parent


DEMO = (
    "--config=configs/demo.py",
    "--config.data.dir={given}",
    "--config.teacher.crop_px=8",
    "--config.student.crop_px=8",
)

CASES = {
    # Files of a prepared data set.
    "stored: directory is not there": (stored(lambda d: d / "nowhere", status=2), "nowhere does not exist"),
    "stored: nothing is prepared there": (stored(gone("dataset.json"), status=2), "holds no prepared data set"),
    "stored: two data sets": (stored(two_data_sets, status=2), "holds 2 prepared data sets; name one of them"),
    "stored: metadata is cut off": (
        stored(rewritten("dataset.json", lambda b: b[:30]), status=2),
        "dataset.json: damaged (JSONDecodeError",
    ),
    "stored: metadata lacks the classes": (
        stored(metadata(lambda m: m.pop("classes")), status=2),
        "dataset.json: damaged (KeyError: 'classes')",
    ),
    "stored: metadata lacks the splits": (
        stored(metadata(lambda m: m.pop("splits")), status=2),
        "dataset.json: damaged (KeyError: 'splits')",
    ),
    "stored: a colour is missing": (
        stored(metadata(lambda m: m["palette"].pop()), status=2),
        "2 palette colours for 3 classes",
    ),
    "stored: an id too many": (
        stored(metadata(lambda m: m["splits"]["train"]["ids"].append("x"))),
        "stores 3 records, but dataset.json lists 4 ids",
    ),
    "stored: two ids are exchanged": (
        stored(metadata(lambda m: m["splits"]["train"]["ids"].reverse())),
        "the centroid index is stale",
    ),
    "stored: a class too few": (
        stored(metadata(lambda m: (m["classes"].pop(), m["palette"].pop()))),
        "train/train0: label value 2 (48 pixels) is outside the 2 classes",
    ),
    "stored: an image without a mask is listed as labelled": (
        stored(metadata(lambda m: m["splits"]["train"]["labelled_ids"].pop())),
        "train/train2: labels in an image that is listed as one without a mask",
    ),
    "stored: records are not there": (
        stored(rewritten("*-train.array_record*", lambda b: b"")),
        "cannot read split 'train'",
    ),
    "stored: records are cut off": (
        stored(rewritten("*-val.array_record*", lambda b: b[:40])),
        "cannot read split 'val'",
    ),
    "stored: features are not there": (stored(gone("features.json")), "cannot read split 'train'"),
    "stored: index is not there": (
        stored(gone("centroids-train.tfrecord")),
        "centroids-train.tfrecord: no centroid index",
    ),
    "stored: index is empty": (
        stored(rewritten("centroids-train.tfrecord", lambda b: b"")),
        "the centroid index is damaged",
    ),
    "stored: index is cut off": (
        stored(rewritten("centroids-val.tfrecord", lambda b: b[:-10])),
        "centroids-val.tfrecord: the centroid index is damaged",
    ),
    "stored: index has a flipped byte": (
        stored(rewritten("centroids-val.tfrecord", lambda b: flipped(b, -20 % len(b)))),
        "the centroid index is damaged",
    ),
    "stored: index is another split's": (
        stored(lambda d: shutil.copy(d / "centroids-val.tfrecord", d / "centroids-train.tfrecord") and None),
        "the centroid index is stale",
    ),
    # What a run's settings say.
    "run: no such split": (
        stored(None, *DEMO, "--config.data.train_split=training"),
        "no labelled image in split 'training'",
    ),
    "run: list of ids is not there": (
        stored(None, *DEMO, "--config.data.labelled_ids={where}/x", status=2),
        "cannot be read",
    ),
    "run: list of ids is empty": (
        stored(put("..", "x", b"# none\n"), *DEMO, "--config.data.labelled_ids={given}/../x", status=2),
        "x holds no id",
    ),
    "run: list names a stranger": (
        stored(put("..", "x", b"train0\ntrain9\n"), *DEMO, "--config.data.labelled_ids={given}/../x", status=2),
        "1 line means no image of the data set, or several: train9",
    ),
    "run: no data set": (stored(None, *DEMO, "--config.data.dir=", status=2), "data.dir is empty"),
    "run: trained on and judged by the same": (
        stored(None, *DEMO, "--config.data.val_split=train", status=0),
        "split 'train' is trained on and validated on",
    ),
    "run: crops are larger than images": (
        stored(None, *DEMO, "--config.teacher.crop_px=14", status=0),
        "teacher.crop_px=14 is longer than a side of 3 of 3",
    ),
    "run: crops are larger than every image": (
        stored(None, *DEMO, "--config.student.crop_px=32"),
        "crop_px=32 is larger than every training image",
    ),
    "run: minimum area leaves out a class": (
        stored(None, *DEMO, "--config.student.sampler.min_area_px=1000"),
        "student.sampler.min_area_px=1000 leaves out every component of ground, thing, sky",
    ),
    "run: minimum area leaves out one class": (
        stored(None, *DEMO, "--config.student.sampler.min_area_px=60", status=0),
        "warning: student.sampler.min_area_px=60 leaves out every component of sky; suggested: 48",
    ),
    # What is in it.
    "data: an image is in train and val": (
        prepared([(1, None), (2, None)], [(1, None)]),
        "1 images are in more than one split: train/train0 = val/val0",
    ),
    "data: an image is there twice": (
        prepared([(1, None), (1, None)], status=0),
        "1 images are there more than once: train/train0 = train/train1",
    ),
    "data: an image has two masks that differ": (
        prepared([(1, None), (1, mask(1, 0, 2))], status=0),
        "1 images have several masks, which differ: train/train0 = train/train1",
    ),
    "data: masks are 0 and 255": (
        prepared([mask(0, 255)] * 2, [mask(0, 255)]),
        "show ground; there is nothing to tell apart",
    ),
    "data: every mask is void": (prepared([VOID]), "show nothing but void; there is nothing to tell apart"),
    "data: every mask is one class": (prepared([mask(1)]), "show thing; there is nothing to tell apart"),
    "data: one mask is void": (
        prepared([None, VOID], status=0),
        "split 'train': 1 masks are void all over, for example train1",
    ),
    "data: val is void": (prepared([None], [VOID]), "split 'val' has no labelled pixel; no score can be computed"),
    "data: a class is in val alone": (
        prepared([mask(0, 1)], status=0),
        "have no pixel of sky, but split 'val' has. The IoU counts as 0 in the mean",
    ),
    "data: a class is in train alone": (
        prepared([None], [mask(0, 1)], status=0),
        "split 'val' has no pixel of sky. The IoU counts as 0 in the mean if a network predicts it anywhere there",
    ),
    "data: a class is nowhere": (
        prepared([mask(0, 1)], [mask(0, 1)], status=0),
        "no pixel of sky in the labelled images of either split",
    ),
    "data: train has no mask": (
        prepared([False], status=2),
        "split 'train' has no labelled image; add masks and prepare it again",
    ),
    "data: val has no mask": (prepared([None], [False]), "no labelled image in split 'val'"),
}


@pytest.mark.parametrize("name", CASES)
def test_broken_data_set_is_told(name, tmp_path, request, capsys):
    case, message = CASES[name]
    arguments = [tmp_path]
    if case.__qualname__.startswith(("stored", "prepared")):
        arguments += [request.getfixturevalue("whole_data"), capsys]
    assert message in case(*arguments)


def test_what_is_whole_passes(whole_data, capsys):
    """The cases above are told for what they break, not for what they share."""
    assert doctor(capsys, *(flag.format(given=whole_data) for flag in DEMO))[1] == 0
    text, status = doctor(capsys, f"--data_dir={whole_data}")
    warnings = [line for line in text.splitlines() if line.startswith("warning")]
    assert status == 0 and not any("error" in line for line in text.splitlines() if line not in warnings)
    assert len(warnings) == 1 and "3 validation images" in warnings[0], "made small for these tests"
