"""Records what the reference implementations compute: `python tests/parity/record.py [CASE …]`, by hand.

In an environment of its own, which the tests do not need:

    pip install torch torchvision timm segmentation_models_pytorch mmsegmentation==1.2.2 mmcv-lite==2.1.0 regex ftfy

Each fixture holds the layout of the reference's state dict, and for weights, images and labels from filling.py: logits
in evaluation mode; logits, statistics and gradients of one training step without dropout. Only samples are kept.
"""

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


def mmseg(config, depth=None):
    for name in ("mmcv.ops", *(f"mmcv.ops.{n}" for n in ("point_sample", "carafe", "multi_scale_deform_attn"))):
        sys.modules.setdefault(name, _Stub(name))
    import mmseg.models  # noqa: F401
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
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
    if depth is not None:
        from mmseg.models.backbones import resnet

        resnet.ResNet.arch_settings[50] = (resnet.Bottleneck, depth)
    built = MODELS.build(model)
    resnet_module = sys.modules["mmseg.models.backbones.resnet"]
    resnet_module.ResNet.arch_settings[50] = (resnet_module.Bottleneck, (3, 4, 6, 3))
    return built


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
    module = sys.modules[timm.create_model.__module__]
    del module
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


def smp(name):
    import segmentation_models_pytorch

    return getattr(segmentation_models_pytorch, name)("resnet50", encoder_weights=None, classes=NUM_CLASSES)


def whole(model, x):
    return {"logits": model(x)}


SHORT = (1, 1, 2, 1)
ONE = mmseg_forward(("layer3",))
BASE = "_base_/models"
REFERENCES = {
    "fast_scnn_mmseg": (lambda: mmseg(f"{BASE}/fast_scnn"), mmseg_forward(("stride32", "stride8"))),
    "resnet50_torchvision": (lambda: torchvision("resnet50"), torchvision_trunk),
    "resnet50_torchvision_short": (lambda: torchvision("resnet50", SHORT), torchvision_trunk),
    "resnet18_timm": (lambda: timm_model("resnet18"), timm_resnet),
    "resnext50_timm_short": (lambda: timm_model("resnext50_32x4d", SHORT), timm_resnet),
    "se_resnext50_timm_short": (lambda: timm_model("legacy_seresnext50_32x4d", SHORT), timm_senet),
    "hrnet_w48_timm": (lambda: timm_model("hrnet_w48"), timm_hrnet),
    "bisenet_mmseg": (lambda: mmseg(f"{BASE}/bisenetv1_r18-d32"), mmseg_forward(("stride8", "stride16"))),
    "icnet_mmseg": (lambda: mmseg(f"{BASE}/icnet_r50-d8"), mmseg_forward(("stride16", "stride8"))),
    "fcn_mmseg": (lambda: mmseg(f"{BASE}/fcn_r50-d8"), ONE),
    "pspnet_mmseg": (lambda: mmseg(f"{BASE}/pspnet_r50-d8"), ONE),
    "pspnet_mmseg_short": (lambda: mmseg(f"{BASE}/pspnet_r50-d8", SHORT), ONE),
    "deeplab_v3_mmseg": (lambda: mmseg(f"{BASE}/deeplabv3_r50-d8"), ONE),
    "deeplab_v3_plus_mmseg": (lambda: mmseg(f"{BASE}/deeplabv3plus_r50-d8"), ONE),
    "encnet_mmseg": (lambda: mmseg(f"{BASE}/encnet_r50-d8"), ONE),
    "ocr_mmseg": (lambda: mmseg("ocrnet/ocrnet_hr48_4xb2-40k_cityscapes-512x1024"), mmseg_forward(cascade=True)),
    "fcn_hrnet_mmseg": (lambda: mmseg("hrnet/fcn_hr48_4xb2-40k_cityscapes-512x1024"), mmseg_forward()),
    "deeplab_v3_torchvision": (lambda: torchvision("deeplabv3_resnet50"), torchvision_segmentation),
    "fcn_torchvision": (lambda: torchvision("fcn_resnet50"), torchvision_segmentation),
    "deeplab_v3_plus_smp": (lambda: smp("DeepLabV3Plus"), whole),
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


def loss(outputs, size):
    """Cross entropy, 0.4 of it for auxiliary logits; of features a mean with random weights."""
    if "features" in outputs:
        y = outputs["features"]
        return (y * to_torch(filling.weights(y.permute(0, 2, 3, 1).shape))).mean()
    target = torch.from_numpy(filling.labels(size, NUM_CLASSES))
    return sum((1.0 if name == "logits" else 0.4) * F.cross_entropy(y, target) for name, y in outputs.items())


def record(case):
    build, forward = REFERENCES[case.name]
    torch.manual_seed(0)
    model = build()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    state = model.state_dict()
    for name, value in state.items():
        value.copy_(torch.from_numpy(filling.fill(name, value.shape)))
    kept = {"layout": np.array(json.dumps({name: list(value.shape) for name, value in state.items()}))}
    model.eval()
    for size in case.sizes:
        with torch.no_grad():
            outputs = forward(model, to_torch(filling.images(size)))
        key = "features" if "features" in outputs else "logits"
        kept |= sample_outputs(f"eval {size[0]} {size[1]}", {key: outputs[key]})
    if case.train_size is not None:
        # Twice the precision: what remains when we compare is our own rounding.
        model.double().train()
        state = model.state_dict()
        outputs = forward(model, to_torch(filling.images(case.train_size)).double())
        value = loss(outputs, case.train_size)
        value.backward()
        kept |= {"loss": value.detach().numpy(), **sample_outputs("train", outputs)}
        weights = [n for n, p in model.named_parameters() if p.grad is not None and p.ndim > 1]
        others = [n for n, p in model.named_parameters() if p.grad is not None and p.ndim == 1]
        chosen = {weights[i * (len(weights) - 1) // 7] for i in range(8)} | {
            others[i * (len(others) - 1) // 3] for i in range(4)
        }
        gradients = dict(model.named_parameters())
        kept |= {f"gradient {n}": sample(n, gradients[n].grad.numpy(), 128) for n in sorted(chosen)}
        statistics = [n for n in state if n.endswith(("running_mean", "running_var"))]
        chosen = {statistics[i * (len(statistics) - 1) // 11] for i in range(12)}
        kept |= {f"statistics {n}": sample(n, state[n].numpy(), 32) for n in sorted(chosen)}
    kept = {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in kept.items()}
    np.savez_compressed(case.fixture, **kept)
    size = case.fixture.stat().st_size
    assert size < LIMIT, f"{case.fixture} has {size} bytes"
    spread = {n: float(np.std(v)) for n, v in kept.items() if n.startswith(("eval", "train"))}
    print(case.name, f"{sum(p.numel() for p in model.parameters()):,}", size, spread, flush=True)


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
