"""Whose checkpoints fill which network."""

import pytest

from csst_jax.models import zoo
from csst_jax.models.preprocessing import IMAGENET
from csst_jax.models.weights import catalogue
from csst_jax.types import CsstError


@pytest.mark.parametrize("name", catalogue.SOURCES)
def test_every_line_leads_to_a_source_and_is_some_networks_first(name):
    first = {catalogue._fitting(name, network)[0] for network in zoo.NETWORKS if catalogue._fitting(name, network)}
    assert first == set(catalogue.SOURCES[name])
    for network in zoo.NETWORKS:
        if catalogue._fitting(name, network):
            assert catalogue.source(name, network).rules


@pytest.mark.parametrize(
    "network,sources",
    [
        ("fast_scnn", {"mmseg"}),
        ("fcn_hrnet_w48", {"timm", "mmseg", "hrnet_ocr"}),
        ("deeplab_v3_resnet50", {"torchvision_segmentation", "mmseg", "encoding"}),
        ("deeplab_v3_plus_resnet50", {"mmseg", "smp", "vplr"}),
        ("deeplab_v3_plus_wide_resnet38", {"vplr"}),
        ("deeplab_v3_plus_efficientnet_lite0", {"timm", "efficientnet_lite", "smp"}),
        ("light_fpn_efficientnet_lite0", {"timm", "efficientnet_lite"}),
        ("fpn_resnext50_32x4d", {"smp"}),
        ("unet_efficientnet_lite0", {"timm", "efficientnet_lite", "smp"}),
        ("unet_efficientnet_lite2", {"timm", "smp"}),
        ("dpt_dinov2_base", {"dinov2", "timm", "hugging_face", "unimatch_v2"}),
        ("dpt_dinov3_base", {"dinov3", "timm", "hugging_face"}),
    ],
)
def test_sources_of_a_network_are_those_that_have_it(network, sources):
    assert set(catalogue.sources_of(network)) == sources


@pytest.mark.parametrize("network", ["deeplab_v3_plus", "fpn", "unet"])
def test_smps_networks_expect_what_smp_says_of_their_encoders(network):
    lite, resnet = (catalogue.source("smp", f"{network}_{name}") for name in ("efficientnet_lite0", "resnet50"))
    assert lite.preprocessing == catalogue.source("timm", f"{network}_efficientnet_lite0").preprocessing
    assert (lite.preprocessing.mean, lite.preprocessing.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert resnet.preprocessing == IMAGENET


def test_unknown_source_and_one_without_the_network_list_what_there_is():
    with pytest.raises(CsstError, match="unknown source 'paddle'; known are: torchvision, "):
        catalogue.source("paddle", "fast_scnn")
    with pytest.raises(CsstError, match=r"source 'hrnet_ocr' has no 'fast_scnn'; it has: ocr_hrnet_w48"):
        catalogue.source("hrnet_ocr", "fast_scnn")
