"""The benchmarks' other side: the same networks as plain PyTorch modules, as one would write them.

FastSCNN and BiSeNet by hand, DeepLabV3+ from segmentation_models_pytorch. `train_step` checks that both sides have as
many parameters. Each returns its logits, then those of its auxiliary heads, at the input's size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(inside: int, out: int, size: int = 1, *, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Module:
    """Convolution, batch normalisation and, unless said otherwise, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inside, out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def separable(inside: int, out: int, stride: int = 1) -> nn.Module:
    """Depthwise 3x3, then 1x1."""
    return nn.Sequential(conv_bn(inside, inside, 3, stride=stride, groups=inside), conv_bn(inside, out))


def enlarge(x: Tensor, size: torch.Size) -> Tensor:
    """Bilinearly, corners aligned."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class InvertedResidual(nn.Module):
    """MobileNetV2's, expansion 6."""

    def __init__(self, inside: int, out: int, stride: int):
        super().__init__()
        wide = 6 * inside
        self.layers = nn.Sequential(
            conv_bn(inside, wide),
            conv_bn(wide, wide, 3, stride=stride, groups=wide),
            conv_bn(wide, out, relu=False),
        )
        self.shortcut = stride == 1 and inside == out

    def forward(self, x: Tensor) -> Tensor:
        """Features at the stride."""
        y = self.layers(x)
        return x + y if self.shortcut else y


class FastSCNN(nn.Module):
    """gluon-cv's, with the auxiliary head at stride 8."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.down = nn.Sequential(conv_bn(3, 32, 3, stride=2), separable(32, 48, 2), separable(48, 64, 2))
        blocks, inside = [], 64
        for out, stride in ((64, 2), (96, 2), (128, 1)):
            for i in range(3):
                blocks.append(InvertedResidual(inside, out, stride if i == 0 else 1))
                inside = out
        self.extract = nn.Sequential(*blocks)
        self.pyramid = nn.ModuleList([conv_bn(128, 32) for _ in range(4)])
        self.pyramid_out = conv_bn(256, 128)
        self.low_depthwise = conv_bn(128, 128, 3, groups=128)
        self.low = nn.Sequential(nn.Conv2d(128, 128, 1), nn.BatchNorm2d(128))
        self.high = nn.Sequential(nn.Conv2d(64, 128, 1), nn.BatchNorm2d(128))
        self.classifier = nn.Sequential(
            separable(128, 128), separable(128, 128), nn.Dropout(0.1), nn.Conv2d(128, num_classes, 1)
        )
        self.aux = nn.Sequential(conv_bn(64, 64, 3), nn.Dropout(0.1), nn.Conv2d(64, num_classes, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits."""
        high = self.down(images)
        x = self.extract(high)
        pooled = [
            enlarge(branch(F.adaptive_avg_pool2d(x, bins)), x.shape[2:])
            for bins, branch in zip((1, 2, 3, 6), self.pyramid, strict=True)
        ]
        x = self.pyramid_out(torch.cat([x, *pooled], 1))
        x = self.low(self.low_depthwise(enlarge(x, high.shape[2:])))
        y = self.classifier(F.relu(self.high(high) + x))
        return [enlarge(z, images.shape[2:]) for z in (y, self.aux(high))]


class BasicBlock(nn.Module):
    """ResNet18's."""

    def __init__(self, inside: int, out: int, stride: int):
        super().__init__()
        self.layers = nn.Sequential(conv_bn(inside, out, 3, stride=stride), conv_bn(out, out, 3, relu=False))
        self.shortcut = nn.Identity() if stride == 1 else conv_bn(inside, out, stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features at the stride."""
        return F.relu(self.layers(x) + self.shortcut(x), inplace=True)


class BiSeNet(nn.Module):
    """TorchSeg's on ResNet18."""

    def __init__(self, num_classes: int):
        super().__init__()

        def head(inside: int, channels: int) -> nn.Module:
            return nn.Sequential(conv_bn(inside, channels, 3), nn.Conv2d(channels, num_classes, 1))

        self.spatial = nn.Sequential(
            conv_bn(3, 64, 7, stride=2), conv_bn(64, 64, 3, stride=2), conv_bn(64, 64, 3, stride=2), conv_bn(64, 128)
        )
        self.stem = nn.Sequential(conv_bn(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1))
        sizes = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        self.layers = nn.ModuleList([nn.Sequential(BasicBlock(i, o, s), BasicBlock(o, o, 1)) for i, o, s in sizes])
        self.context = conv_bn(512, 128)
        self.arms = nn.ModuleList([conv_bn(i, 128, 3) for i in (512, 256)])
        self.attention = nn.ModuleList([conv_bn(128, 128, relu=False) for _ in range(2)])
        self.refines = nn.ModuleList([conv_bn(128, 128, 3) for _ in range(2)])
        self.fuse = conv_bn(256, 256)
        self.weight = nn.Sequential(
            nn.Conv2d(256, 256, 1, bias=False), nn.ReLU(inplace=True), nn.Conv2d(256, 256, 1, bias=False), nn.Sigmoid()
        )
        self.heads = nn.ModuleList([head(256, 64), head(128, 256), head(128, 256)])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits."""
        features, x = [], self.stem(images)
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        above, outputs = self.context(F.adaptive_avg_pool2d(x, 1)), []
        for i, (high, low) in enumerate(((features[3], features[2]), (features[2], features[1]))):
            y = self.arms[i](high)
            y = y * torch.sigmoid(self.attention[i](F.adaptive_avg_pool2d(y, 1)))
            above = self.refines[i](enlarge(y + above, low.shape[2:]))
            outputs.append(above)
        fused = self.fuse(torch.cat([self.spatial(images), above], 1))
        fused = fused + fused * self.weight(F.adaptive_avg_pool2d(fused, 1))
        return [enlarge(head(y), images.shape[2:]) for head, y in zip(self.heads, (fused, *outputs), strict=True)]


class Listed(nn.Module):
    """A network that returns its logits alone."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits."""
        return [self.network(images)]


def deeplab_v3_plus(encoder: str, num_classes: int) -> nn.Module:
    """segmentation_models_pytorch's at output stride 16."""
    import segmentation_models_pytorch as smp

    return Listed(smp.DeepLabV3Plus(encoder, encoder_weights=None, classes=num_classes))


def build(network: str, num_classes: int) -> nn.Module:
    """The named network of the zoo (the DeepLabV3+ in lineage "smp")."""
    if network == "fast_scnn":
        return FastSCNN(num_classes)
    if network == "bisenet_resnet18":
        return BiSeNet(num_classes)
    encoders = {
        "deeplab_v3_plus_resnet50": "resnet50",
        "deeplab_v3_plus_efficientnet_lite0": "tu-tf_efficientnet_lite0",
    }
    return deeplab_v3_plus(encoders[network], num_classes)
