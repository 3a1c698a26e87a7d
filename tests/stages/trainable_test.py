"""What a stage would stumble over is refused before any stage begins."""

import contextlib
import io

import jax
import numpy as np
import pytest
from PIL import Image

from configs import base
from csst_jax.models import nnx_io, zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import files
from csst_jax.settings import resolve
from csst_jax.stages.trainable import require_trainable
from csst_jax.train.sharding import make_mesh
from csst_jax.types import CsstError, DatasetDescription

CLASSES = ("a", "b", "c")


class Pool:
    """A split of four labelled and four unlabelled images of 96 x 96."""

    labelled, unlabelled = range(4), range(4, 8)

    def __init__(self):
        self.reader = self.dataset = self
        self.description = DatasetDescription("made up", CLASSES, ((0, 0, 0),) * len(CLASSES))

    def label_bytes(self, record):
        file = io.BytesIO()
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(file, "PNG")
        return file.getvalue()


@pytest.fixture
def config():
    stage = base.get_config().teacher
    stage.crop_px, stage.epochs, stage.width = 64, 4, 0.25
    return stage


def require(stage, devices=1):
    require_trainable(resolve.training(stage, IMAGENET), Pool(), make_mesh(jax.devices()[:devices], 1), pseudo=False)


@pytest.mark.parametrize(
    "change,least",
    [
        ({"batch_size": 1}, 2),
        ({"batch_size": 4, "accumulate": 4}, 8),  # each micro-batch has its own statistics
        ({"batch_size": 2, "method.name": "mean_teacher"}, 4),  # so have the crops of each stream
        ({"batch_size": 4, "accumulate": 2, "method.name": "mean_teacher"}, 8),
        ({"batch_size": 1, "schedule.kind": "constant"}, 2),
        ({"batch_size": 1, "network": "bisenet_resnet18"}, 2),
    ],
)
def test_one_crop_at_a_time_is_refused_where_a_layer_pools_it_whole(config, change, least):
    config.update_from_flattened_dict(change)
    with pytest.raises(CsstError, match=f"batch_size is {config.batch_size}.*Give a batch_size of at least {least}"):
        require(config)
    config.batch_size = least
    require(config)


def test_no_more_images_are_read_than_it_takes_to_find_one_as_large_as_the_crop(config, monkeypatch):
    read, label_bytes = [], Pool.label_bytes
    monkeypatch.setattr(Pool, "label_bytes", lambda pool, record: (read.append(record), label_bytes(pool, record))[1])
    require(config)
    assert read == [0]
    config.crop_px = 128
    with pytest.raises(CsstError, match=r"crop_px=128 is larger than every training image .*set crop_px to 96 or less"):
        require(config)
    assert read[1:] == [0, 1, 2, 3]


@pytest.mark.parametrize("large,parts", [("labelled", (0, 1)), ("unlabelled", (1, 0)), ("neither", (1, 1))])
def test_a_crop_must_fit_into_an_image_that_the_stage_reads(config, large, parts):
    class Sizes(Pool):
        def label_bytes(self, record):
            side = 96 if record in getattr(self, large, ()) else 32
            file = io.BytesIO()
            Image.fromarray(np.zeros((side, side), np.uint8)).save(file, "PNG")
            return file.getvalue()

    config.method.name = "real_and_pseudo"
    config.method.real_and_pseudo.real_parts, config.method.real_and_pseudo.pseudo_parts = parts
    settings = resolve.training(config, IMAGENET)
    with pytest.raises(CsstError, match="crop_px=64 is larger than every training image .* 32 px"):
        require_trainable(settings, Sizes(), make_mesh(jax.devices()[:1], 1), pseudo=True)


@pytest.mark.parametrize("method,batch", [("real_and_pseudo", 2), ("unimatch", 2), ("u2pl", 2), ("dst_cbc", 8)])
def test_two_kinds_of_crops_that_are_seen_together_are_two(config, method, batch):
    """With the crops of one kind alone, a pass would have one."""
    config.method.name, config.batch_size, config.schedule.kind = method, batch, "constant"
    if "cutmix" in config.method[method]:
        config.method[method].cutmix = 0.0
    require_trainable(resolve.training(config, IMAGENET), Pool(), make_mesh(jax.devices()[:1], 1), pseudo=True)


def test_a_method_one_of_whose_passes_has_one_kind_alone_is_refused_with_a_crop_of_each(config):
    config.method.name, config.batch_size = "corrmatch", 2
    with pytest.raises(CsstError, match="sees one crop of .*Give a batch_size of at least 4"):
        require(config)


@pytest.mark.parametrize(
    "method,change,kind,least",
    [
        ("consistency", {"batch_size": 2}, "unlabelled", 4),
        ("unimatch_v2", {"batch_size": 8, "accumulate": 4}, "unlabelled", 16),
        ("real_and_pseudo", {"batch_size": 2}, "pseudo", 4),
        ("real_and_pseudo", {"batch_size": 4, "method.real_and_pseudo.pseudo_parts": 3}, None, 8),  # real is weak
        ("real_and_pseudo", {"batch_size": 2, "method.real_and_pseudo.pseudo_view": "weak"}, None, 4),
    ],
)
def test_a_crop_that_is_alone_cannot_be_mixed(config, monkeypatch, method, change, kind, least):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    config.update_from_flattened_dict({"method.name": method, "network": "toy", "schedule.kind": "constant", **change})
    config.method[method].cutmix = 0.5

    def require():
        require_trainable(resolve.training(config, IMAGENET), Pool(), make_mesh(jax.devices()[:1], 1), pseudo=True)

    message = (
        rf"method.{method}.cutmix mixes .* batch_size is {config.batch_size} for .* so that a {kind} crop is alone"
        rf".*at least {least}, or set method.{method}.cutmix to 0"
    )
    with pytest.raises(CsstError, match=message) if kind else contextlib.nullcontext():
        require()
    config.batch_size = least
    require()
    config.batch_size, config.method[method].cutmix = least // 2, 0.0
    require()


@pytest.mark.parametrize(
    "method,pseudo,message",
    [
        ("supervised", True, ""),
        ("supervised", False, "and there are no pseudo labels here"),
        ("real_and_pseudo", True, "and real_and_pseudo takes these apart"),
        ("unimatch", False, "and there are no pseudo labels here"),
    ],
)
def test_a_share_of_real_labels_is_refused_where_it_would_change_nothing(config, method, pseudo, message):
    config.method.name, config.sampler.real_share = method, 0.5

    def require():
        require_trainable(resolve.training(config, IMAGENET), Pool(), make_mesh(jax.devices()[:1], 1), pseudo)

    refused = pytest.raises(CsstError, match=f"real_share is 0.5.*{message}; set it to -1")
    with refused if message else contextlib.nullcontext():
        require()
    config.sampler.real_share = -1
    require()


def test_a_batch_is_that_of_all_devices(config):
    config.batch_size = 2
    require(config, devices=2)


def test_a_crop_as_small_as_the_networks_stride_is_pooled_whole_too(config):
    config.network, config.crop_px, config.batch_size, config.width = "deeplab_v2_resnet101", 4, 1, 0.125
    config.depth, config.schedule.kind = 0.01, "constant"
    with pytest.raises(CsstError, match="sees one crop of 4 px at a time"):
        require(config)


def test_one_crop_at_a_time_is_allowed_where_no_layer_pools_it_whole(config, monkeypatch):
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    config.network, config.batch_size = "toy", 1
    require(config)


@pytest.mark.parametrize(
    "method,message",
    [
        ("supervised", ""),
        ("hlcon", ""),
        ("u2pl", "method.name=u2pl predicts with an average of its own, which method.u2pl"),
    ],
)
def test_average_decay_is_refused_where_the_method_predicts_with_an_average_of_its_own(config, method, message):
    config.update_from_flattened_dict({"method.name": method, "average_decay": 0.9, "batch_size": 8})
    with pytest.raises(CsstError, match=message) if message else contextlib.nullcontext():
        require(config)


@pytest.mark.parametrize("initial,classes", [((), 3), (("classifier.kernel", "classifier.bias"), 3), ((), 4)])
def test_cps_is_refused_where_weights_make_both_networks_the_same(config, monkeypatch, tmp_path, initial, classes):
    """Not where the classifier is left to the seed: it has initial values in the file, or is of other classes."""
    monkeypatch.setitem(zoo.NETWORKS, "toy", zoo.Entry("tests.toy_network:build"))
    network = nnx_io.create(zoo.builder("toy", classes), 0)
    arrays = {name: np.asarray(x) for name, x in (network.params | network.batch_stats).items()}
    description = files.Description("toy", {}, classes, files.TRAINED_HERE, "", IMAGENET, initial=initial)
    files.write(tmp_path / "toy.safetensors", arrays, description)
    config.update_from_flattened_dict({"method.name": "cps", "network": "toy", "batch_size": 8})
    config.pretrained = str(tmp_path / "toy.safetensors")
    alike = not initial and classes == 3
    message = r"method.name=cps trains two networks .*toy.safetensors gives both all of its weights. Take"
    with pytest.raises(CsstError, match=message) if alike else contextlib.nullcontext():
        require(config)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"network": "fast_scnn", "remat": True}, "remat=True: this network has no blocks that can be computed again"),
        (
            {"network": "pspnet_resnet50", "lineage": "smp", "output_stride": 16},
            "output_stride=16; give 8 for PSPNet of lineage 'smp'",
        ),
        ({"network": "light_fpn_efficientnet_lite0", "remat": True}, None),
    ],
)
def test_what_a_network_refuses_when_it_is_built_is_told_before_any_stage(config, change, message):
    config.update_from_flattened_dict({**change, "batch_size": 8})
    with pytest.raises(CsstError, match=message) if message else contextlib.nullcontext():
        require(config)


def test_a_rule_for_no_parameter_is_refused(config):
    config.optimizer.decay_factors = ((r"\.bias$", 0.0),)
    require(config)
    config.optimizer.decay_factors = ((r"\.offset$", 0.0),)
    with pytest.raises(CsstError, match="matches none of the"):
        require(config)
