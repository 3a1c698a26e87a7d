"""Every data set: a tiny copy of its download, prepared, read back pixel by pixel, sampled, and cut into a batch."""

import numpy as np
import pytest

from csst_jax.data.batches import batches
from csst_jax.data.crop_plan import batch_specs
from csst_jax.data.descriptions import CITYSCAPES
from csst_jax.data.store import DataSet
from csst_jax.data.stored import encoded
from csst_jax.samplers.centroid import CentroidSampler
from csst_jax.samplers.plan import pool_from_index
from csst_jax.streams import LABELLED
from csst_jax.types import CsstError, Phase
from data_prep import ade20k, bdd100k, camvid, cityscapes, mapillary, voc2012
from tests.data_prep import replicas

CASES = {
    "cityscapes": (cityscapes, replicas.cityscapes, {}, [], 19),
    "cityscapes trainIds": (cityscapes, replicas.cityscapes, {"train_ids": True}, [], 19),
    "cityscapes archives": (cityscapes, replicas.cityscapes, {"archives": True}, [], 19),
    "voc2012": (voc2012, replicas.voc2012, {}, [], 21),
    "camvid segnet": (camvid, replicas.camvid_segnet, {}, [], 11),
    "camvid original": (camvid, replicas.camvid_original, {}, [], 11),
    "bdd100k": (bdd100k, replicas.bdd100k, {}, [], 19),
    "bdd100k legacy": (bdd100k, replicas.bdd100k, {"legacy": True}, [], 19),
    "mapillary v1.2": (mapillary, replicas.mapillary, {}, [], 5),
    "mapillary v1.2 alone": (mapillary, replicas.mapillary, {"old": True}, ["--version=v1.2"], 5),
    "mapillary v2.0": (mapillary, replicas.mapillary, {"version": "v2.0"}, ["--version=v2.0"], 7),
    "ade20k": (ade20k, replicas.ade20k, {}, [], 150),
}


def run(module, source, data_dir, *more):
    module.main([f"--source_dir={source}", f"--data_dir={data_dir}", "--num_workers=1", *more])
    return DataSet.open(data_dir)


def check(data_set, expected, num_classes):
    assert len(data_set.description.classes) == num_classes
    assert data_set.splits == tuple(expected)
    for split, labels in expected.items():
        assert data_set.ids(split) == tuple(sorted(labels))
        assert data_set.labelled_ids(split) == tuple(sorted(i for i, label in labels.items() if label is not None))
        for record, image_id in enumerate(data_set.ids(split)):
            stored = encoded.decode_label(data_set.reader(split).label_bytes(record))
            wanted = labels[image_id] if labels[image_id] is not None else np.full_like(stored, 255)
            np.testing.assert_array_equal(stored, wanted, err_msg=f"{split} {image_id}")
            assert encoded.decode_rgb(data_set.reader(split).image_bytes(record)).shape == (*stored.shape, 3)


def one_batch(data_set, size=4):
    """Images and labels of a batch of crops around centroids of the train split."""
    source, index = data_set.reader("train"), data_set.centroids("train")
    names = data_set.description.classes
    pool = pool_from_index(index, 0, range(len(data_set.ids("train"))), 0)
    phases = [Phase(crop_px=16, global_batch=size, steps=1)]
    sampler = CentroidSampler(pool, names)
    specs = batch_specs([LABELLED], {"labelled": sampler}, phases, seed=0, scale_range=(1.0, 1.0), start_step=0)
    return next(iter(batches(specs, [LABELLED], [source], parallel_batches=1, prefetch=1)))["labelled"]


@pytest.mark.parametrize("case", CASES)
def test_replica_to_batch(case, tmp_path):
    module, write, settings, flags, num_classes = CASES[case]
    expected = write(tmp_path / "raw", **settings)
    shown = {value for label in expected["train"].values() if label is not None for value in np.unique(label).tolist()}
    assert shown == {*range(num_classes), 255}, "the replica must show every class and void"
    data_set = run(module, tmp_path / "raw", tmp_path / "data", *flags)
    check(data_set, expected, num_classes)
    batch = one_batch(data_set)
    assert batch["image"].shape == (4, 16, 16, 3) and batch["image"].dtype == np.uint8
    assert set(np.unique(batch["label"]).tolist()) <= shown
    assert all((label != 255).any() for label in batch["label"])


@pytest.mark.parametrize("case", ["cityscapes", "mapillary v2.0", "ade20k"])
def test_official_ids_lead_back_to_the_values_of_the_masks(case, tmp_path):
    module, write, settings, flags, _ = CASES[case]
    write(tmp_path / "raw", **settings)
    ids = run(module, tmp_path / "raw", tmp_path / "data", *flags).description.official_ids
    wanted = {
        "cityscapes": tuple(replicas.CITYSCAPES_TRAIN_ID),
        "mapillary v2.0": (0, 1, 2, 4, 5, 6, 7),
        "ade20k": tuple(range(1, 151)),
    }
    assert ids == wanted[case]


def test_splits_can_be_chosen(tmp_path):
    expected = replicas.cityscapes(tmp_path / "raw")
    data_set = run(cityscapes, tmp_path / "raw", tmp_path / "data", "--splits=train_extra,val")
    check(data_set, {split: expected[split] for split in ("train_extra", "val")}, 19)
    with pytest.raises(CsstError, match="no split 'trian' here; there are train, val, test, train_extra"):
        run(cityscapes, tmp_path / "raw", tmp_path / "more", "--splits=trian")


def test_the_table_of_cityscapes_is_that_of_its_own_tools():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    known = sorted((label for label in labels if 0 <= label.trainId < 255), key=lambda label: label.trainId)
    assert CITYSCAPES.classes == tuple(label.name for label in known)
    assert CITYSCAPES.palette == tuple(label.color for label in known)
    assert CITYSCAPES.official_ids == tuple(label.id for label in known)
    void = {label.id for label in labels if label.trainId == 255}
    assert {value for value, klass in cityscapes.LABEL_IDS.values.items() if klass == 255} == void


@pytest.mark.parametrize("masks", [False, True])
def test_voc_with_the_semantic_boundaries_dataset(tmp_path, masks):
    expected = replicas.voc2012(tmp_path / "raw" / "VOC2012", sbd=tmp_path / "sbd")
    more = ["--aug_masks"] if masks else []
    data_set = run(voc2012, tmp_path / "raw", tmp_path / "data", f"--sbd_dir={tmp_path / 'sbd'}", *more)
    unlabelled = {name: None for name in ("2008_000008", "2008_000015") if not masks}
    check(data_set, expected | {"train": expected["train"] | unlabelled}, 21)


def test_voc_with_a_list_of_the_augmented_images(tmp_path):
    expected = replicas.voc2012(tmp_path / "raw")
    listed = tmp_path / "trainaug.txt"
    listed.write_text("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n2008_000008\n2007_000033\n")
    data_set = run(voc2012, tmp_path / "raw", tmp_path / "data", f"--aug_list={listed}")
    check(data_set, expected | {"train": expected["train"] | {"2008_000008": None}}, 21)
    with pytest.raises(CsstError, match=r"SegmentationClassAug/2008_000008\.png: missing mask"):
        run(voc2012, tmp_path / "raw", tmp_path / "more", f"--aug_list={listed}", "--aug_masks")
    with pytest.raises(CsstError, match="--aug_masks belongs to"):
        run(voc2012, tmp_path / "raw", tmp_path / "more", "--aug_masks")


def test_original_camvid_has_the_splits_of_the_tutorial(shared_camvid):
    for split in ("train", "val"):
        ids = [
            line.split()[0].rpartition("/")[2].removesuffix(".png")
            for line in (shared_camvid / f"{split}.txt").read_text().splitlines()
        ]
        assert {camvid.original_split(image_id) for image_id in ids} == {split}
    # The tutorial's 233 test images: the second half of 0001TP, and Seq05VD.
    ids = [f"0001TP_{number:06d}" for number in range(8550, 10381, 30)]
    ids += [f"Seq05VD_f{number:05d}" for number in range(0, 5101, 30)]
    assert len(ids) == 233 and {camvid.original_split(image_id) for image_id in ids} == {"test"}


def test_unknown_colours_values_and_files_are_named(tmp_path):
    replicas.camvid_original(tmp_path / "raw")
    replicas.photo(tmp_path / "raw" / "701_StillsRaw_full" / "holiday.png")
    with pytest.raises(CsstError, match=r"holiday\.png: not a frame of CamVid"):
        run(camvid, tmp_path / "raw", tmp_path / "data")
    (tmp_path / "raw" / "701_StillsRaw_full" / "holiday.png").unlink()
    replicas.photo(tmp_path / "raw" / "LabeledApproved_full" / "0016E5_07959_L.png")
    with pytest.raises(CsstError, match=r"0016E5_07959_L\.png: label colour \(\d+, \d+, \d+\) \(1 pixel\).*and more"):
        run(camvid, tmp_path / "raw", tmp_path / "data")


def test_a_label_id_that_cityscapes_does_not_have(tmp_path):
    replicas.cityscapes(tmp_path / "raw")
    mask = tmp_path / "raw/gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelIds.png"
    replicas.grey(mask, replicas.spread([7, 34]))
    with pytest.raises(CsstError, match=r"label value 34 \(384 pixels\) stands for none of the 19 classes"):
        run(cityscapes, tmp_path / "raw", tmp_path / "data")


@pytest.mark.parametrize("module", [cityscapes, voc2012, bdd100k, mapillary, ade20k])
def test_a_wrong_directory_is_told_with_what_should_be_in_it(module, tmp_path):
    with pytest.raises(CsstError, match=r"--source_dir=.* is not a directory with .*; see docs/datasets\.md"):
        run(module, tmp_path, tmp_path / "data")


def test_damaged_tables_of_classes(tmp_path):
    replicas.mapillary(tmp_path / "vistas")
    (tmp_path / "vistas" / "config_v1.2.json").write_text('{"labels": [{"readable": "x"}]}')
    with pytest.raises(CsstError, match=r"config_v1\.2\.json: no readable config \(KeyError\('evaluate'\)\)"):
        run(mapillary, tmp_path / "vistas", tmp_path / "data")
    with pytest.raises(CsstError, match=r"config_v2\.0\.json: no readable config"):
        run(mapillary, tmp_path / "vistas", tmp_path / "data", "--version=v2.0")
    replicas.ade20k(tmp_path / "ade")
    (tmp_path / "ade" / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    with pytest.raises(CsstError, match="expected rows 1 to 150, found 1"):
        run(ade20k, tmp_path / "ade", tmp_path / "data")
