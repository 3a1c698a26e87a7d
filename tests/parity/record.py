"""Records what the reference implementations compute: `python tests/parity/record.py [CASE …]`, by hand.

In an environment of its own, which the tests do not need:

    pip install torch torchvision timm segmentation_models_pytorch mmsegmentation==1.2.2 mmcv-lite==2.1.0 regex ftfy

Each fixture holds the layout of the reference's state dict, and for weights, images and labels from filling.py: logits
in evaluation mode; logits, statistics and gradients of one training step without dropout. Only samples are kept.
"""

import copy
import json
import pathlib
import sys
import types

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.parity import filling  # noqa: E402
from tests.parity.cases import CASES, NUM_CLASSES  # noqa: E402

LIMIT = 200_000  # bytes of a fixture


class _Stub(types.ModuleType):
    """mmcv-lite has no compiled operators; mmseg only wants to import them."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})


def mmseg(config, short=False):
    for name in ("mmcv.ops", *(f"mmcv.ops.{n}" for n in ("point_sample", "carafe", "multi_scale_deform_attn"))):
        sys.modules.setdefault(name, _Stub(name))
    import mmseg.models  # noqa: F401
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.models.backbones.resnet import Bottleneck, ResNet
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    root = pathlib.Path(sys.modules["mmseg"].__file__).parent / ".mim" / "configs"
    model = Config.fromfile(root / f"{config}.py").model
    model.pop("data_preprocessor", None)

    def single_device(node):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key in ("pretrained", "init_cfg"):
                node[key] = None
            elif key == "norm_cfg":
                node[key] = {**value, "type": "BN"}
            elif isinstance(value, (dict, list)):
                single_device(value)

    single_device(model)
    if short and model.backbone.type == "HRNet":
        shorten(model.backbone.extra)
    settings = ResNet.arch_settings
    ResNet.arch_settings = settings | ({50: (Bottleneck, SHORT)} if short else {})
    try:
        return MODELS.build(model)
    finally:
        ResNet.arch_settings = settings


def shorten(stages):
    """A third of HRNet's blocks and modules."""
    for stage in stages.values():
        if isinstance(stage, dict):
            stage["num_modules"] = 1
            stage["num_blocks"] = (1,) * stage["num_branches"]


def mmseg_forward(aux_names=(), cascade=False):
    def forward(model, x):
        features = model.extract_feat(x)
        out = {}
        if cascade:
            out["regions"] = model.decode_head[0](features)
            out["logits"] = model.decode_head[1](features, out["regions"])
        else:
            y = model.decode_head(features)
            out["logits"] = y[0] if isinstance(y, tuple) else y  # EncNet's second is the presence of classes
        if aux_names:
            heads = model.auxiliary_head
            heads = heads if isinstance(heads, nn.ModuleList) else [heads]
            out |= {name: head(features) for name, head in zip(aux_names, heads, strict=True)}
        return {n: F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False) for n, y in out.items()}

    return forward


def torchvision_trunk(model, x):
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    return {"features": model.layer4(model.layer3(model.layer2(model.layer1(x))))}


def timm_model(name, blocks=None):
    import timm

    if blocks is None:
        return timm.create_model(name)
    if name.startswith("hrnet"):
        from timm.models.hrnet import HighResolutionNet, cfg_cls

        config = copy.deepcopy(cfg_cls[name])
        shorten(config)
        return HighResolutionNet(config)
    if name.startswith("legacy"):
        from timm.models.senet import SENet, SEResNeXtBottleneck

        return SENet(SEResNeXtBottleneck, blocks, 32, 16, downsample_kernel_size=1, downsample_padding=0, inplanes=64)
    from timm.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, blocks, cardinality=32, base_width=4)


def timm_resnet(model, x):
    x = model.maxpool(model.act1(model.bn1(model.conv1(x))))
    return {"features": model.layer4(model.layer3(model.layer2(model.layer1(x))))}


def timm_senet(model, x):
    # Ours pools as the original does; timm leaves the pooling outside of layer0.
    return {"features": model.layer4(model.layer3(model.layer2(model.layer1(model.pool0(model.layer0(x))))))}


def timm_hrnet(model, x):
    # A classifier's branches are brought to one size by repetition; the segmentation networks interpolate.
    for module in model.modules():
        if isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False
    x = model.act2(model.bn2(model.conv2(model.act1(model.bn1(model.conv1(x))))))
    return {"features": model.stages(x)[-1]}


def torchvision(name, blocks=None):
    import torchvision

    if blocks is not None:
        from torchvision.models import resnet

        return resnet.ResNet(resnet.Bottleneck, blocks)
    if name in ("fcn_resnet50", "deeplabv3_resnet50"):
        make = getattr(torchvision.models.segmentation, name)
        return make(weights=None, weights_backbone=None, num_classes=NUM_CLASSES, aux_loss=True)
    return getattr(torchvision.models, name)()


def torchvision_segmentation(model, x):
    out = model(x)
    return {"logits": out["out"], "layer3": out["aux"]}


def timm_efficientnet(model, x):
    return {"features": model.blocks(model.bn1(model.conv_stem(x)))}


def smp(name, encoder="resnet50"):
    import segmentation_models_pytorch

    return getattr(segmentation_models_pytorch, name)(encoder, encoder_weights=None, classes=NUM_CLASSES)


def whole(model, x):
    return {"logits": model(x)}


SHORT = (1, 1, 2, 1)
ONE = mmseg_forward(("layer3",))
OCR = "ocrnet/ocrnet_hr48_4xb2-40k_cityscapes-512x1024"
FCN_HRNET = "hrnet/fcn_hr48_4xb2-40k_cityscapes-512x1024"
DEEPLAB_RESNET18 = "deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024"


def mmseg_pair(name, config, forward=ONE):
    """A network and its "_short" one."""
    return {
        f"{name}_mmseg": (lambda: mmseg(config), forward),
        f"{name}_mmseg_short": (lambda: mmseg(config, short=True), forward),
    }


REFERENCES = {
    "resnet50_torchvision": (lambda: torchvision("resnet50"), torchvision_trunk),
    "resnet50_torchvision_short": (lambda: torchvision("resnet50", SHORT), torchvision_trunk),
    "resnet18_timm": (lambda: timm_model("resnet18"), timm_resnet),
    "resnext50_timm_short": (lambda: timm_model("resnext50_32x4d", SHORT), timm_resnet),
    "se_resnext50_timm_short": (lambda: timm_model("legacy_seresnext50_32x4d", SHORT), timm_senet),
    "hrnet_w48_timm": (lambda: timm_model("hrnet_w48"), timm_hrnet),
    "hrnet_w48_timm_short": (lambda: timm_model("hrnet_w48", SHORT), timm_hrnet),
    "efficientnet_lite0_timm": (lambda: timm_model("tf_efficientnet_lite0"), timm_efficientnet),
    "fast_scnn_mmseg": (lambda: mmseg("_base_/models/fast_scnn"), mmseg_forward(("stride32", "stride8"))),
    "bisenet_mmseg": (lambda: mmseg("_base_/models/bisenetv1_r18-d32"), mmseg_forward(("stride8", "stride16"))),
    **mmseg_pair("icnet", "_base_/models/icnet_r50-d8", mmseg_forward(("stride16", "stride8"))),
    **mmseg_pair("fcn", "_base_/models/fcn_r50-d8"),
    **mmseg_pair("pspnet", "_base_/models/pspnet_r50-d8"),
    **mmseg_pair("deeplab_v3", "_base_/models/deeplabv3_r50-d8"),
    **mmseg_pair("deeplab_v3_plus", "_base_/models/deeplabv3plus_r50-d8"),
    "deeplab_v3_plus_resnet18_mmseg": (lambda: mmseg(DEEPLAB_RESNET18), ONE),
    **mmseg_pair("encnet", "_base_/models/encnet_r50-d8"),
    **mmseg_pair("ocr", OCR, mmseg_forward(cascade=True)),
    **mmseg_pair("fcn_hrnet", FCN_HRNET, mmseg_forward()),
    "deeplab_v3_torchvision": (lambda: torchvision("deeplabv3_resnet50"), torchvision_segmentation),
    "fcn_torchvision": (lambda: torchvision("fcn_resnet50"), torchvision_segmentation),
    "deeplab_v3_plus_smp": (lambda: smp("DeepLabV3Plus"), whole),
    "deeplab_v3_plus_smp_efficientnet_lite0": (lambda: smp("DeepLabV3Plus", "tu-tf_efficientnet_lite0"), whole),
    "pspnet_smp": (lambda: smp("PSPNet"), whole),
}


def to_torch(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def sample(key, array, count):
    return array.reshape(-1)[filling.positions(key, array.size, count)]


def sample_outputs(prefix, outputs, count=64):
    """`count` pixels of each, channels last."""
    kept = {}
    for name, y in outputs.items():
        y = y.detach().numpy().transpose(0, 2, 3, 1)
        pixels = y.reshape(-1, y.shape[-1])
        rows = filling.positions(f"{prefix}/{name}", len(pixels), count)
        kept[f"{prefix}/{name}"] = pixels[rows][:, :64]
    return kept


def spread(names, count):
    """`count` of them, from the first to the last."""
    return sorted({names[i * (len(names) - 1) // (count - 1)] for i in range(count)})


def loss(outputs, size):
    """Cross entropy, 0.4 of it for auxiliary logits; of features a mean with random weights."""
    if "features" in outputs:
        y = outputs["features"]
        return (y * to_torch(filling.weights(y.permute(0, 2, 3, 1).shape))).mean()
    target = torch.from_numpy(filling.labels(size, NUM_CLASSES))
    return sum((1.0 if name == "logits" else 0.4) * F.cross_entropy(y, target) for name, y in outputs.items())


def prepare(build):
    """The reference in float64, so that what remains when we compare is our own rounding; filled, without dropout."""
    torch.manual_seed(0)
    model = build()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    layout = {name: list(value.shape) for name, value in model.state_dict().items()}
    filled = {name: torch.from_numpy(value) for name, value in filling.fill(layout).items()}
    model.load_state_dict(filled)
    return model.double(), layout, {name: value.double() for name, value in filled.items()}


def train(case, model, forward, filled, seed, noise=0.0):
    """Samples of one training step's outputs, gradients and statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            near = 1.0 + noise * torch.randn(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(filled[name] * near)
    model.train().zero_grad()
    outputs = forward(model, to_torch(filling.images(case.train_size, seed)).double())
    value = loss(outputs, case.train_size)
    value.backward()
    kept = {"loss": value.detach().numpy(), **sample_outputs("train", outputs)}
    gradients = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    for names, count in (
        ([n for n, g in gradients.items() if g.ndim > 1], 8),
        ([n for n, g in gradients.items() if g.ndim == 1], 4),
    ):
        kept |= {f"gradient {n}": sample(n, gradients[n], 128) for n in spread(names, count)}
    state = model.state_dict()
    moved = [n for n in state if n.endswith(("running_mean", "running_var")) and (state[n] != filled[n]).any()]
    return kept | {f"statistics {n}": sample(n, state[n].numpy(), 32) for n in spread(moved, 12)}


def record(case):
    build, forward = REFERENCES[case.name]
    model, layout, filled = prepare(build)
    kept = {"layout": np.array(json.dumps(layout))}
    if case.numeric:
        model.eval()
        for size in case.sizes:
            with torch.no_grad():
                outputs = forward(model, to_torch(filling.images(size)).double())
            key = "features" if "features" in outputs else "logits"
            kept |= sample_outputs(f"eval {size[0]} {size[1]}", {key: outputs[key]})
        kept |= well_conditioned(lambda *how: train(case, model, forward, filled, *how))
    kept = {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in kept.items()}
    np.savez_compressed(case.fixture, **kept)
    size = case.fixture.stat().st_size
    assert size < LIMIT, f"{case.fixture} has {size} bytes"
    deviations = {n: round(float(np.std(v)), 2) for n, v in kept.items() if n.startswith(("eval", "train"))}
    print(case.name, size, "seed", kept.get("seed"), deviations, flush=True)


def well_conditioned(step, noise=1e-6, limit=2e-4, seeds=12):
    """A step with the first images for which no ReLU and no maximum is so close that rounding may decide it.

    That is, changing all weights by several times float32's rounding changes the gradients little.
    """
    for seed in range(seeds):
        kept, near = step(seed), step(seed, noise)
        worst = max(np.abs(near[n] - v).max() / np.abs(v).max() for n, v in kept.items() if n.startswith("gradient"))
        print(f"  seed {seed}: gradients move by {worst:.1e}", flush=True)
        if worst < limit:
            return {"seed": np.array(seed), **kept}
    raise AssertionError(f"gradients are ill-conditioned with each of {seeds} images")


def record_checkpoints():
    """Two small files in PyTorch's two formats, as a training with mmengine leaves them."""
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(3, 4, (2, 1)))
    model.add_module("bn", nn.BatchNorm2d(4))
    with torch.no_grad():
        model.conv.weight.copy_(torch.arange(24.0).reshape(4, 3, 2, 1))
    content = {"meta": {"epoch": 3, "CLASSES": ("a", "b")}, "state_dict": model.state_dict()}
    folder = ROOT / "tests" / "models" / "weights"
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "legacy.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    torch.set_num_threads(2)
    names = sys.argv[1:]
    if not names or "checkpoints" in names:
        record_checkpoints()
    for case in CASES:
        if not names or case.name in names:
            record(case)
