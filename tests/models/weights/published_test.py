"""Layouts of released state dicts that no package builds, entry by entry as their code bases name them."""

import json

import numpy as np
import pytest

from csst_jax.models import nnx_io, zoo
from csst_jax.models.weights import catalogue, rules
from tests.parity.cases import FIXTURES

CLASSES = 19
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def conv(name, out, inside, size=1, bias=False):
    return {f"{name}.weight": (out, inside, size, size)} | ({f"{name}.bias": (out,)} if bias else {})


def bn(name, channels):
    leaves = {f"{name}.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    return leaves | {f"{name}.num_batches_tracked": ()}


def conv_bn(name, out, inside, size=1, first=0, bias=False):
    """Neighbours in a `Sequential`."""
    return conv(f"{name}.{first}", out, inside, size, bias) | bn(f"{name}.{first + 1}", out)


def stages(depth, inside, prefix="", groups=1, width=1, squeeze=False):
    """layer1 to layer4 of bottlenecks."""
    out = {}
    for stage, blocks in enumerate(BLOCKS[depth]):
        c = 64 * 2**stage
        for i in range(blocks):
            name = f"{prefix}layer{stage + 1}.{i}"
            out |= conv(f"{name}.conv1", width * c, inside) | bn(f"{name}.bn1", width * c)
            out |= conv(f"{name}.conv2", width * c, width * c // groups, 3) | bn(f"{name}.bn2", width * c)
            out |= conv(f"{name}.conv3", 4 * c, width * c) | bn(f"{name}.bn3", 4 * c)
            if squeeze:
                out |= conv(f"{name}.se_module.fc1", c // 4, 4 * c, bias=True)
                out |= conv(f"{name}.se_module.fc2", 4 * c, c // 4, bias=True)
            if i == 0:
                out |= conv_bn(f"{name}.downsample", 4 * c, inside)
            inside = 4 * c
    return out


def deep_stem(name):
    return (
        conv(f"{name}.0", 64, 3, 3)
        | bn(f"{name}.1", 64)
        | conv(f"{name}.3", 64, 64, 3)
        | bn(f"{name}.4", 64)
        | conv(f"{name}.6", 128, 64, 3)
    )


def vplr_head(high, low):
    """network/deepv3.py, branch sdcnet."""
    out = {}
    for i, size in enumerate((1, 3, 3, 3)):
        out |= conv_bn(f"aspp.features.{i}", 256, high, size)
    out |= conv_bn("aspp.img_conv", 256, high) | conv("bot_fine", 48, low) | conv("bot_aspp", 256, 1280)
    out |= conv_bn("final", 256, 304, 3) | conv_bn("final", 256, 256, 3, first=3)
    return out | conv("final.6", CLASSES, 256)


def vplr_se_resnext50():
    stem = conv("layer0.conv1", 64, 3, 7) | bn("layer0.bn1", 64)
    return stem | stages(50, 64, groups=32, width=2, squeeze=True) | vplr_head(2048, 256)


def vplr_resnext50():
    return conv_bn("layer0", 64, 3, 7) | stages(50, 64, groups=32, width=2) | vplr_head(2048, 256)


def vplr_wide_resnet38():
    """network/wider_resnet.py: activated batch normalisation before each convolution, as its `Sequential`'s first."""
    out, inside = conv("mod1.conv1", 64, 3, 3), 64
    channels = ((128, 128), (256, 256), (512, 512), (512, 1024), (512, 1024, 2048), (1024, 2048, 4096))
    for module, (count, sizes) in enumerate(zip((3, 3, 6, 3, 1, 1), channels, strict=True), 2):
        for i in range(count):
            name, entering = f"mod{module}.block{i + 1}", inside
            out |= bn(f"{name}.bn1.0", inside)
            kernels = (3, 3) if len(sizes) == 2 else (1, 3, 1)
            for j, (c, size) in enumerate(zip(sizes, kernels, strict=True), 1):
                out |= conv(f"{name}.convs.conv{j}", c, inside, size)
                if j < len(sizes):
                    out |= bn(f"{name}.convs.bn{j + 1}.0", c)
                inside = c
            if entering != inside:
                out |= conv(f"{name}.proj_conv", inside, entering)
    return out | vplr_head(4096, 128)


def advsemiseg_deeplab_v2():
    """model/deeplab.py: four parallel classifiers with biases."""
    out = conv("conv1", 64, 3, 7) | bn("bn1", 64) | stages(101, 64)
    for i in range(4):
        out |= conv(f"layer5.conv2d_list.{i}", CLASSES, 2048, 3, bias=True)
    return out


def semseg_pspnet101():
    """hszhao/semseg, model/pspnet.py."""
    out = deep_stem("layer0") | bn("layer0.7", 128) | stages(101, 128)
    for i in range(4):
        out |= conv_bn(f"ppm.features.{i}", 512, 2048, first=1)
    out |= conv_bn("cls", 512, 4096, 3) | conv("cls.4", CLASSES, 512, bias=True)
    return out | conv_bn("aux", 256, 1024, 3) | conv("aux.4", CLASSES, 256, bias=True)


def encoding_trunk():
    """PyTorch-Encoding's resnet101s, which keeps its ImageNet classifier, and the auxiliary head."""
    out = deep_stem("pretrained.conv1") | bn("pretrained.bn1", 128) | stages(101, 128, "pretrained.")
    out |= {"pretrained.fc.weight": (1000, 2048), "pretrained.fc.bias": (1000,)}
    return out | conv_bn("auxlayer.conv5", 256, 1024, 3) | conv("auxlayer.conv5.4", CLASSES, 256, bias=True)


def encoding_deeplab_v3():
    out = encoding_trunk()
    for i, size in enumerate((1, 3, 3, 3)):
        out |= conv_bn(f"head.aspp.b{i}", 256, 2048, size)
    out |= conv_bn("head.aspp.b4.gap", 256, 2048, first=1) | conv_bn("head.aspp.project", 256, 1280)
    return out | conv_bn("head.block", 256, 256, 3) | conv("head.block.4", CLASSES, 256, bias=True)


def encoding_encnet():
    """lateral=False, SE loss: a layer that tells which classes are present."""
    out = encoding_trunk() | conv_bn("head.conv5", 512, 2048, 3)
    out |= conv_bn("head.encmodule.encoding", 512, 512)
    out |= {"head.encmodule.encoding.3.codewords": (32, 512), "head.encmodule.encoding.3.scale": (32,)}
    out |= bn("head.encmodule.encoding.4", 32)
    out |= {"head.encmodule.fc.0.weight": (512, 512), "head.encmodule.fc.0.bias": (512,)}
    out |= {"head.encmodule.selayer.weight": (CLASSES, 512), "head.encmodule.selayer.bias": (CLASSES,)}
    return out | conv("head.conv6.1", CLASSES, 512, bias=True)


def torchseg_bisenet():
    """ycszen/TorchSeg, cityscapes.bisenet.R18: its `ConvBnRelu` has a `conv` and a `bn`."""

    def unit(name, out, inside, size=1):
        return conv(f"{name}.conv", out, inside, size) | bn(f"{name}.bn", out)

    out, inside = conv("context_path.conv1", 64, 3, 7) | bn("context_path.bn1", 64), 64
    for stage in range(4):
        c = 64 * 2**stage
        for i in range(2):
            name = f"context_path.layer{stage + 1}.{i}"
            out |= conv(f"{name}.conv1", c, inside, 3) | bn(f"{name}.bn1", c)
            out |= conv(f"{name}.conv2", c, c, 3) | bn(f"{name}.bn2", c)
            if inside != c:
                out |= conv_bn(f"{name}.downsample", c, inside)
            inside = c
    for name, (c, i, size) in {
        "conv_7x7": (64, 3, 7),
        "conv_3x3_1": (64, 64, 3),
        "conv_3x3_2": (64, 64, 3),
        "conv_1x1": (128, 64, 1),
    }.items():
        out |= unit(f"spatial_path.{name}", c, i, size)
    out |= unit("global_context.1", 128, 512)
    for i, c in enumerate((512, 256)):
        out |= unit(f"arms.{i}.conv_3x3", 128, c, 3) | unit(f"arms.{i}.channel_attention.1", 128, 128)
        out |= unit(f"refines.{i}", 128, 128, 3)
        out |= unit(f"heads.{i}.conv_3x3", 256, 128, 3) | conv(f"heads.{i}.conv_1x1", CLASSES, 256, bias=True)
    out |= unit("heads.2.conv_3x3", 64, 256, 3) | conv("heads.2.conv_1x1", CLASSES, 64, bias=True)
    out |= unit("ffm.conv_1x1", 256, 256)
    return out | conv("ffm.channel_attention.1.conv", 256, 256) | conv("ffm.channel_attention.2.conv", 256, 256)


def efficientnet_lite0():
    """The PyPI package's model: numbered blocks, the first without expansion."""
    out, inside, n = conv("_conv_stem", 32, 3, 3) | bn("_bn0", 32), 32, 0
    channels, sizes = (16, 24, 40, 80, 112, 192, 320), (3, 3, 5, 3, 5, 5, 3)
    for count, c, size in zip((1, 2, 2, 3, 3, 4, 1), channels, sizes, strict=True):
        for _ in range(count):
            name, wide = f"_blocks.{n}", inside * (6 if n else 1)
            if n:
                out |= conv(f"{name}._expand_conv", wide, inside) | bn(f"{name}._bn0", wide)
            out |= conv(f"{name}._depthwise_conv", wide, 1, size) | bn(f"{name}._bn1", wide)
            out |= conv(f"{name}._project_conv", c, wide) | bn(f"{name}._bn2", c)
            inside, n = c, n + 1
    out |= conv("_conv_head", 1280, 320) | bn("_bn1", 1280)
    return out | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


def from_fixture(name, *renames):
    """A recorded layout under other names; HRNet's trunk is called the same everywhere."""
    out = json.loads(str(np.load(FIXTURES / f"{name}.npz")["layout"]))
    for old, new in renames:
        out = {key.replace(old, new): shape for key, shape in out.items()}
    return out


def hrnet_ocr_fcn():
    """seg_hrnet.py as released: "model." before the names, and the criterion's class weights."""
    trunk = {
        k: v for k, v in from_fixture("fcn_hrnet_mmseg", ("backbone.", "model.")).items() if k.startswith("model.")
    }
    out = trunk | conv_bn("model.last_layer", 720, 720, bias=True)
    return out | conv("model.last_layer.3", CLASSES, 720, bias=True) | {"loss.criterion.weight": (CLASSES,)}


def hrnet_ocr():
    """seg_hrnet_ocr.py."""
    trunk = {
        k: v for k, v in from_fixture("fcn_hrnet_mmseg", ("backbone.", "model.")).items() if k.startswith("model.")
    }
    out = trunk | conv_bn("model.conv3x3_ocr", 512, 720, 3, bias=True)
    out |= conv_bn("model.aux_head", 720, 720, bias=True) | conv("model.aux_head.3", CLASSES, 720, bias=True)
    block = "model.ocr_distri_head.object_context_block"
    for name, pairs in {"f_pixel": 2, "f_object": 2, "f_down": 1, "f_up": 1}.items():
        for i in range(pairs):
            o, c = (512, 256) if name == "f_up" else (256, 256 if i else 512)
            out |= conv(f"{block}.{name}.{2 * i}", o, c) | bn(f"{block}.{name}.{2 * i + 1}.0", o)
    out |= conv("model.ocr_distri_head.conv_bn_dropout.0", 512, 1024)
    out |= bn("model.ocr_distri_head.conv_bn_dropout.1.0", 512)
    return out | conv("model.cls_head", CLASSES, 512, bias=True)


CASES = [
    ("vplr", "deeplab_v3_plus_se_resnext50_32x4d", vplr_se_resnext50),
    ("vplr", "deeplab_v3_plus_resnext50_32x4d", vplr_resnext50),
    ("vplr", "deeplab_v3_plus_wide_resnet38", vplr_wide_resnet38),
    ("advsemiseg", "deeplab_v2_resnet101", advsemiseg_deeplab_v2),
    ("semseg", "pspnet_resnet101", semseg_pspnet101),
    ("encoding", "deeplab_v3_resnet101", encoding_deeplab_v3),
    ("encoding", "encnet_resnet101", encoding_encnet),
    ("torchseg", "bisenet_resnet18", torchseg_bisenet),
    ("efficientnet_lite", "deeplab_v3_plus_efficientnet_lite0", efficientnet_lite0),
    ("efficientnet_lite", "light_fpn_efficientnet_lite0", efficientnet_lite0),
    pytest.param("hrnet_ocr", "fcn_hrnet_w48", hrnet_ocr_fcn, marks=pytest.mark.slow),
    pytest.param("hrnet_ocr", "ocr_hrnet_w48", hrnet_ocr, marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("source,network,layout", CASES)
def test_the_released_state_dict_fits_entry_by_entry(source, network, layout):
    code_base = catalogue.source(source, network)
    built = nnx_io.abstract(zoo.builder(network, CLASSES, **code_base.options))
    like = {name: tuple(leaf.shape) for name, leaf in (built.params | built.batch_stats).items()}
    if code_base.backbone:
        like = {name: shape for name, shape in like.items() if name.startswith("backbone.")}
    entries = {name: np.broadcast_to(np.float32(0), shape) for name, shape in layout().items()}
    assert rules.apply(code_base, entries, like).keys() == like.keys()
