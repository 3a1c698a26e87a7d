"""The networks that are compared with their references; record.py and parity_test.py read the same list."""

import dataclasses
import pathlib

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
NUM_CLASSES = 19
# Relative to the largest value: float32, summed in another order.
LIMITS = {"logits": 1e-4, "train": 1e-4, "statistics": 1e-4, "gradient": 1e-3}


@dataclasses.dataclass(frozen=True)
class Case:
    """One network of one source.

    Attributes:
      name: of the fixture, and of the reference's builder in record.py.
      source: a key of the importer's catalogue.
      network: a key of the zoo; "trunk:NAME" stands for a backbone alone.
      options: our builder's, on top of those that the source asks for.
      sizes: heights and widths at which the network is evaluated.
      train_size: that of the training step.
      slow_layout: whether comparing the layout takes more than a few seconds, as comparing numbers does.
      numeric: whether numbers are compared, or the state dict's layout alone.
      moved: how far recorded gradients may depend on rounding (`well_conditioned` in record.py).
    """

    name: str
    source: str
    network: str
    options: dict = dataclasses.field(default_factory=dict)
    sizes: tuple = ((97, 129),)
    train_size: tuple = (65, 97)
    slow_layout: bool = False
    numeric: bool = True
    moved: float = 2e-4

    @property
    def fixture(self):
        return FIXTURES / f"{self.name}.npz"


# "_short": a third of the trunk's blocks at all of its width, which compiles faster and has all kinds of block.
SHORT = {"depth": 0.34}


def pair(name, source, network, **more):
    """A network whose layout is compared in full, and whose numbers are when it is short."""
    options = more.pop("options", {})
    return (
        Case(name, source, network, options, numeric=False, slow_layout="hrnet" in network),
        Case(f"{name}_short", source, network, options | SHORT, **more),
    )


CASES = (
    *pair("resnet50_torchvision", "torchvision", "trunk:resnet50"),
    Case("resnet18_timm", "timm", "trunk:resnet18"),
    Case("resnext50_timm_short", "timm", "trunk:resnext50_32x4d", SHORT),
    Case("se_resnext50_timm_short", "timm", "trunk:se_resnext50_32x4d", SHORT | {"pool_padding": 0, "pool_ceil": True}),
    # timm adds branches without fitting their sizes: multiples of 32.
    *pair(
        "hrnet_w48_timm",
        "timm",
        "trunk:hrnet_w48",
        options={"align_corners": False},
        sizes=((96, 128),),
        train_size=(64, 96),
    ),
    Case("efficientnet_lite0_timm", "timm", "trunk:efficientnet_lite0"),
    Case("dinov2_small_timm", "timm", "trunk:dinov2_small", numeric=False),
    # timm interpolates position embeddings in its own way: at their own size both are the same.
    Case(
        "dinov2_small_timm_short",
        "timm",
        "trunk:dinov2_small",
        SHORT | {"width": 1 / 3},
        sizes=((518, 518),),
        train_size=(518, 518),
    ),
    Case("dinov2_base_timm", "timm", "trunk:dinov2_base", numeric=False),
    Case("dinov2_large_timm", "timm", "trunk:dinov2_large", numeric=False),
    Case("dinov2_small_hugging_face", "hugging_face", "trunk:dinov2_small", numeric=False),
    Case("dinov3_small_timm", "timm", "trunk:dinov3_small", numeric=False),
    # With biases of queries and values. Places are relative to each side, so one size is not a square.
    Case(
        "dinov3_small_timm_short",
        "timm",
        "trunk:dinov3_small",
        SHORT | {"width": 1 / 3},
        sizes=((96, 160), (64, 64)),
        train_size=(64, 96),
    ),
    Case("dinov3_base_timm", "timm", "trunk:dinov3_base", numeric=False),
    Case("dinov3_large_timm", "timm", "trunk:dinov3_large", numeric=False),
    Case("dinov3_small_release", "dinov3", "trunk:dinov3_small", numeric=False),
    Case("dinov3_small_hugging_face", "hugging_face", "trunk:dinov3_small", numeric=False),
    # One size is a multiple of 14, one is resized.
    *pair("dpt_small_unimatch_v2", "unimatch_v2", "dpt_dinov2_small", sizes=((70, 98), (65, 97)), train_size=(56, 84)),
    Case("dpt_base_unimatch_v2", "unimatch_v2", "dpt_dinov2_base", numeric=False),
    Case("dpt_large_unimatch_v2", "unimatch_v2", "dpt_dinov2_large", numeric=False),
    Case("fast_scnn_mmseg", "mmseg", "fast_scnn", sizes=((321, 449), (769, 769)), train_size=(97, 129)),
    # It normalises pooled features in three places: no images are as well-conditioned as elsewhere.
    Case("bisenet_mmseg", "mmseg", "bisenet_resnet18", sizes=((321, 449),), moved=4e-4),
    *pair("icnet_mmseg", "mmseg", "icnet_resnet50", sizes=((321, 449),), train_size=(129, 193)),
    *pair("fcn_mmseg", "mmseg", "fcn_resnet50"),
    *pair("pspnet_mmseg", "mmseg", "pspnet_resnet50", sizes=((321, 449),)),
    *pair("deeplab_v3_mmseg", "mmseg", "deeplab_v3_resnet50"),
    *pair("deeplab_v3_plus_mmseg", "mmseg", "deeplab_v3_plus_resnet50"),
    Case("deeplab_v3_plus_resnet18_mmseg", "mmseg", "deeplab_v3_plus_resnet18"),
    *pair("encnet_mmseg", "mmseg", "encnet_resnet50"),
    *pair("ocr_mmseg", "mmseg", "ocr_hrnet_w48"),
    *pair("fcn_hrnet_mmseg", "mmseg", "fcn_hrnet_w48"),
    Case("deeplab_v3_torchvision", "torchvision_segmentation", "deeplab_v3_resnet50", train_size=(97, 129)),
    Case("fcn_torchvision", "torchvision_segmentation", "fcn_resnet50"),
    # smp refuses sizes that are no multiples of 16, or of 8.
    Case("deeplab_v3_plus_smp", "smp", "deeplab_v3_plus_resnet50", sizes=((96, 128),), train_size=(96, 64)),
    Case(
        "deeplab_v3_plus_smp_efficientnet_lite0",
        "smp",
        "deeplab_v3_plus_efficientnet_lite0",
        sizes=((96, 128),),
        train_size=(64, 96),
    ),
    Case("pspnet_smp", "smp", "pspnet_resnet50", sizes=((96, 128),), train_size=(96, 64)),
    Case("fpn_smp", "smp", "fpn_resnet18", sizes=((96, 128),), train_size=(96, 64)),
    Case("fpn_smp_efficientnet_lite1", "smp", "fpn_efficientnet_lite1", sizes=((96, 128),), train_size=(64, 96)),
    Case("unet_smp", "smp", "unet_resnet18", sizes=((96, 128),), train_size=(96, 64)),
    Case("unet_smp_efficientnet_lite2", "smp", "unet_efficientnet_lite2", sizes=((96, 128),), train_size=(64, 96)),
    Case("unet_smp_resnext50", "smp", "unet_resnext50_32x4d", numeric=False),
)
