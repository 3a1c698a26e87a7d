"""Networks of code bases that have one or two of ours: hszhao/semseg, PyTorch-Encoding, TorchSeg, AdvSemiSeg."""

from __future__ import annotations

from csst_jax.models.preprocessing import Preprocessing
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.models.weights.sources.resnet import RESNET, inside

_STAGES = RESNET[1:]


def _conv_bn(pattern: str, ours: str, first: int = 0) -> tuple[tuple[str, str], ...]:
    """A `Sequential`'s neighbours to a `ConvBN`."""
    return ((rf"{pattern}\.{first}", f"{ours}.conv"), (rf"{pattern}\.{first + 1}", f"{ours}.bn"))


PSPNET = Source(
    "semseg",
    modules(
        (r"layer0\.0", "backbone.conv1"),
        (r"layer0\.1", "backbone.bn1"),
        (r"layer0\.3", "backbone.conv2"),
        (r"layer0\.4", "backbone.bn2"),
        (r"layer0\.6", "backbone.conv3"),
        (r"layer0\.7", "backbone.bn3"),
        *inside(_STAGES, ""),
        *_conv_bn(r"ppm\.features\.(\d)", r"ppm.convs.\1", 1),
        *_conv_bn(r"cls", "cls.convs.0"),
        (r"cls\.4", "cls.conv_seg"),
        *_conv_bn(r"aux", "aux.convs.0"),
        (r"aux\.4", "aux.conv_seg"),
    ),
    drop=(BATCH_COUNTER,),
    preprocessing=Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB", 255.0),
    options={"lineage": "semseg"},
)

_ENCODING_TRUNK = (
    (r"pretrained\.bn1", "backbone.bn3"),
    (r"pretrained\.conv1\.0", "backbone.conv1"),
    (r"pretrained\.conv1\.1", "backbone.bn1"),
    (r"pretrained\.conv1\.3", "backbone.conv2"),
    (r"pretrained\.conv1\.4", "backbone.bn2"),
    (r"pretrained\.conv1\.6", "backbone.conv3"),
    *inside(_STAGES, r"pretrained\."),
)
_ENCODING_AUXILIARY = (*_conv_bn(r"auxlayer\.conv5", "auxlayer.convs.0"), (r"auxlayer\.conv5\.4", "auxlayer.conv_seg"))
# The trunk keeps its classifier there.
_ENCODING_DROP = (BATCH_COUNTER, ("ImageNet classifier", r"pretrained\.fc\.(weight|bias)"))

ENCODING_FCN = Source(
    "encoding",
    modules(
        *_ENCODING_TRUNK,
        *_conv_bn(r"head\.conv5", "head.convs.0"),
        (r"head\.conv5\.4", "head.conv_seg"),
        *_ENCODING_AUXILIARY,
    ),
    drop=_ENCODING_DROP,
    options={"lineage": "encoding"},
)

ENCODING_DEEPLAB_V3 = Source(
    "encoding",
    modules(
        *_ENCODING_TRUNK,
        *_conv_bn(r"head\.aspp\.b([0-3])", r"aspp.convs.\1"),
        *_conv_bn(r"head\.aspp\.b4\.gap", "aspp.pool", 1),
        *_conv_bn(r"head\.aspp\.project", "aspp.project"),
        *_conv_bn(r"head\.block", "block.convs.0"),
        (r"head\.block\.4", "block.conv_seg"),
        *_ENCODING_AUXILIARY,
    ),
    drop=_ENCODING_DROP,
    options={"lineage": "encoding"},
)

ENCODING_ENCNET = Source(
    "encoding",
    (
        (r"head\.encmodule\.encoding\.3\.(codewords|scale)", r"encmodule.encoding.\1", "identity"),
        *modules(
            *_ENCODING_TRUNK,
            *_conv_bn(r"head\.(conv5|connect\.\d|fusion)", r"\1"),
            *_conv_bn(r"head\.encmodule\.encoding", "encmodule.project"),
            (r"head\.encmodule\.encoding\.4", "encmodule.norm"),
            (r"head\.encmodule\.fc\.0", "encmodule.fc"),
            (r"head\.encmodule\.selayer", "encmodule.selayer"),
            (r"head\.conv6\.1", "conv6"),
            *_ENCODING_AUXILIARY,
        ),
    ),
    drop=_ENCODING_DROP,
    options={"lineage": "encoding"},
)

_LAYER = r"\.(conv|bn)"

BISENET = Source(
    "torchseg",
    modules(
        *inside(RESNET, r"context_path\.", "context_path."),
        (rf"spatial_path\.(conv_7x7|conv_3x3_1|conv_3x3_2|conv_1x1){_LAYER}", r"spatial_path.\1.\2"),
        (rf"global_context\.1{_LAYER}", r"global_context.\1"),
        (rf"arms\.(\d)\.conv_3x3{_LAYER}", r"arms.\1.conv_3x3.\2"),
        (rf"arms\.(\d)\.channel_attention\.1{_LAYER}", r"arms.\1.channel_attention.\2"),
        (rf"refines\.(\d){_LAYER}", r"refines.\1.\2"),
        (rf"ffm\.conv_1x1{_LAYER}", r"ffm.conv_1x1.\1"),
        # Convolutions without normalisation, after the pooling at 0.
        (r"ffm\.channel_attention\.1\.conv", "ffm.channel_attention.0"),
        (r"ffm\.channel_attention\.2\.conv", "ffm.channel_attention.1"),
        (rf"heads\.2\.conv_3x3{_LAYER}", r"head.conv_3x3.\1"),
        (r"heads\.2\.conv_1x1", "head.conv_1x1"),
        (rf"heads\.([01])\.conv_3x3{_LAYER}", r"aux_heads.\1.conv_3x3.\2"),
        (r"heads\.([01])\.conv_1x1", r"aux_heads.\1.conv_1x1"),
    ),
    drop=(BATCH_COUNTER, ("ImageNet classifier", r"context_path\.fc\.(weight|bias)")),
    options={"lineage": "torchseg"},
)

DEEPLAB_V2 = Source(
    "advsemiseg",
    modules(*inside(RESNET, ""), (r"layer5\.conv2d_list\.(\d)", r"layer5.conv2d_list.\1")),
    drop=(BATCH_COUNTER,),
    preprocessing=Preprocessing((104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0), "BGR", 255.0),
    options={"lineage": "s4gan"},
)
