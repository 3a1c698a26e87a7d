"""The references that record.py runs: how each is built, and what of its outputs is compared. Needs PyTorch."""

import copy
import pathlib
import sys
import types

import torch.nn.functional as F
from torch import nn

from tests.parity.cases import NUM_CLASSES


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


def timm_dino(name, **options):
    import timm

    return timm.create_model(f"vit_{name}", **options)


def dinov3_release(name):
    """Of a checkout of facebookresearch/dinov3 in PYTHONPATH; its weights are not needed."""
    from dinov3.hub import backbones

    return getattr(backbones, f"dinov3_{name}")(pretrained=False)


def timm_vit(model, x):
    (features,) = model.forward_intermediates(x, 1, norm=True, intermediates_only=True)
    return {"features": features}


def hugging_face_dinov2(heads, layers):
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=64 * heads, num_hidden_layers=layers, num_attention_heads=heads, patch_size=14, image_size=518
    )
    return as_saved(transformers.Dinov2Model(config))


def hugging_face_dinov3(heads, layers):
    import transformers

    config = transformers.DINOv3ViTConfig(
        hidden_size=64 * heads,
        intermediate_size=256 * heads,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_register_tokens=4,
    )
    return as_saved(transformers.DINOv3ViTModel(config))


def as_saved(model):
    """By the names that transformers saves, which are not those of its modules."""
    import tempfile

    import safetensors.torch

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = safetensors.torch.load_file(pathlib.Path(folder) / "model.safetensors")
    model.state_dict = lambda: saved
    model.load_state_dict = lambda entries: None
    return model


def unimatch_v2(size, features, inside, blocks=None):
    """Of a checkout of LiheYoung/UniMatch-V2 in PYTHONPATH."""
    from model.semseg.dpt import DPT

    model = DPT(size, NUM_CLASSES, features, list(inside))
    if blocks is not None:
        model.backbone.blocks = model.backbone.blocks[:blocks]
        model.intermediate_layer_idx[size] = list(range(blocks))
    return model


def unimatch_v2_forward(model, x):
    """As its `evaluate` does it: at the nearest multiples of 14."""
    size = x.shape[2:]
    nearest = [int(pixels / 14 + 0.5) * 14 for pixels in size]
    y = model(F.interpolate(x, nearest, mode="bilinear", align_corners=True))
    return {"logits": F.interpolate(y, size, mode="bilinear", align_corners=True)}


def whole(model, x):
    return {"logits": model(x)}


SHORT = (1, 1, 2, 1)
FEW_BLOCKS = {"depth": 4, "embed_dim": 128, "num_heads": 2}
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
    "dinov2_small_timm": (lambda: timm_dino("small_patch14_dinov2"), timm_vit),
    "dinov2_small_timm_short": (lambda: timm_dino("small_patch14_dinov2", **FEW_BLOCKS), timm_vit),
    "dinov2_base_timm": (lambda: timm_dino("base_patch14_dinov2"), timm_vit),
    "dinov2_large_timm": (lambda: timm_dino("large_patch14_dinov2"), timm_vit),
    "dinov2_small_hugging_face": (lambda: hugging_face_dinov2(6, 12), None),
    "dinov3_small_timm": (lambda: timm_dino("small_patch16_dinov3"), timm_vit),
    "dinov3_small_timm_short": (lambda: timm_dino("small_patch16_dinov3_qkvb", **FEW_BLOCKS), timm_vit),
    "dinov3_base_timm": (lambda: timm_dino("base_patch16_dinov3_qkvb"), timm_vit),
    "dinov3_large_timm": (lambda: timm_dino("large_patch16_dinov3"), timm_vit),
    "dinov3_small_release": (lambda: dinov3_release("vits16"), None),
    "dinov3_small_hugging_face": (lambda: hugging_face_dinov3(6, 12), None),
    "dpt_small_unimatch_v2": (lambda: unimatch_v2("small", 64, (48, 96, 192, 384)), unimatch_v2_forward),
    "dpt_small_unimatch_v2_short": (lambda: unimatch_v2("small", 64, (48, 96, 192, 384), 4), unimatch_v2_forward),
    "dpt_base_unimatch_v2": (lambda: unimatch_v2("base", 128, (96, 192, 384, 768)), unimatch_v2_forward),
    "dpt_large_unimatch_v2": (lambda: unimatch_v2("large", 256, (256, 512, 1024, 1024)), unimatch_v2_forward),
    "deeplab_v3_torchvision": (lambda: torchvision("deeplabv3_resnet50"), torchvision_segmentation),
    "fcn_torchvision": (lambda: torchvision("fcn_resnet50"), torchvision_segmentation),
    "deeplab_v3_plus_smp": (lambda: smp("DeepLabV3Plus"), whole),
    "deeplab_v3_plus_smp_efficientnet_lite0": (lambda: smp("DeepLabV3Plus", "tu-tf_efficientnet_lite0"), whole),
    "pspnet_smp": (lambda: smp("PSPNet"), whole),
    "fpn_smp": (lambda: smp("FPN", "resnet18"), whole),
    "fpn_smp_efficientnet_lite1": (lambda: smp("FPN", "tu-tf_efficientnet_lite1"), whole),
    "unet_smp": (lambda: smp("Unet", "resnet18"), whole),
    "unet_smp_efficientnet_lite2": (lambda: smp("Unet", "tu-tf_efficientnet_lite2"), whole),
    "unet_smp_resnext50": (lambda: smp("Unet", "resnext50_32x4d"), whole),
}
