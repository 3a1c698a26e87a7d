"""The benchmarks that docs/performance.md shows, in its order: see `benchmarks.performance`."""

from __future__ import annotations

import dataclasses

_ADAMW = " --config.teacher.optimizer.name=adamw --config.evaluate.window_px=798"


@dataclasses.dataclass(frozen=True)
class Section:
    """One benchmark in the document.

    Attributes:
      name: of its log.
      title: its heading.
      command: what `--record` runs.
      text: what the figures mean.
      rows_of: name of the section whose table has the rows of this one; empty for a table of its own.
    """

    name: str
    title: str
    command: str
    text: str = ""
    rows_of: str = ""


def plan(network: str, crop_px: int, topology: str, batch: int, more: str = "") -> str:
    """The command that compiles one network's step on Cityscapes' sizes for a slice; `more` flags may be given."""
    settings = {"network": network, "crop_px": crop_px, "batch_size": batch, "dtype": "bfloat16"}
    overrides = " ".join(f"--config.teacher.{key}={value}" for key, value in settings.items())
    return (
        f"python -m csst_jax.plan --config=configs/base.py --topology={topology} --num_labelled=2975 "
        "--num_unlabelled=0 --num_validation=500 --num_classes=19 --image_size=1024x2048 --config.stages=teacher "
        f"--config.teacher.schedule.kind=constant {overrides}{more} --json"
    )


SECTIONS = (
    Section(
        "train_step",
        "Training step against PyTorch",
        "python -m benchmarks.train_step --json",
        "Both sides run forward, backward and update of the same network on the same batch. PyTorch is eager and uses "
        "all cores. A ratio above 1 means that csst_jax is faster.",
    ),
    Section(
        "step_profile",
        "Where a step's time goes",
        "python -m benchmarks.step_profile --network=fast_scnn,bisenet_resnet18,deeplab_v3_plus_resnet50 --json",
        "The tables show networks that are about as fast as PyTorch.\n\n"
        "Some of XLA's own programs were slow, and we replaced them. Its weight gradients were 3 to 20 times slower "
        "than one product per row. Its sums for batch normalisation were 3 times slower, and its gradient of max "
        "pooling 4 times.\n\n"
        "Other changes were slower or no faster. We did not keep them.\n\n"
        "* Winograd's products were tried below 128 channels.\n"
        "* YNNPACK was turned off.\n"
        "* A stem folded pixels into channels.\n"
        "* Rows of products were tried for the forward pass.\n"
        "* XLA's older code generator was tried, and its fast minimum and maximum, and its other scheduler.\n\n"
        "All of this was measured in trials of single operations or of FastSCNN. The trials are not kept.",
    ),
    Section(
        "schedule",
        "The crop schedule",
        "python -m benchmarks.schedule --data_dir=data --json",
        "Whole epochs of a constant crop are compared with coarse2fine+. Input is real, and all programs are compiled "
        "before. The paper reports a speed-up of 1.5 for FastSCNN and 1.7 for BiSeNet-R18. Our target is 1.7 for both. "
        "`by pixels` is the speed-up that the area of the crops alone gives. The cores that run the step also read, "
        "decode and resize each crop, and compile the programs of the next sizes. If an epoch is shorter than a "
        "compilation, the first step of the next epoch waits.",
    ),
    Section(
        "schedule_cold",
        "Compiling while it trains",
        "python -m benchmarks.schedule --data_dir=data --crop_px=256 --pairs=0 --cold_samples=3000 --json",
        "This run compiles while it trains. Its epochs are as long as those of Cityscapes' 2,975 images.",
    ),
    Section(
        "start",
        "From launch to the first step",
        "python -m benchmarks.start --data_dir=data --json",
        "The first start of a configuration compiles. The second start finds its programs in JAX's persistent cache. "
        "Our target is at most 0.25 of the first start. The rest is importing TensorFlow and JAX, and tracing the "
        "step.",
    ),
    Section(
        "input_pipeline",
        "Reading, decoding and cropping",
        "python -m benchmarks.input_pipeline --json",
        "This is the training input alone, without a network. Our target is 5 times PyTorch's rate. PyTorch's files "
        "are in the page cache. Our records are in memory (`input.cache_mb`), as after the first epoch of a training. "
        "The last column of the second table reads each record again. The third table is of the centroid index in the "
        "same run. [Alone](#the-centroid-index), it was measured later.",
    ),
    Section(
        "lossy_storage",
        "What JPEG storage costs in mIoU",
        "python -m benchmarks.lossy_storage --data_dirs=data,data/jpeg "
        "--checkpoints=runs/demo/teacher,runs/demo/student --json",
        "Networks of an earlier demo (FastSCNN from random weights) are trained on lossless images. They are scored on "
        "validation images of JPEG quality 95.",
    ),
    Section(
        "soft_labels",
        "What soft pseudo labels take",
        "python -m benchmarks.soft_labels --checkpoint=runs/demo/teacher --data_dir=data --json",
        "A demo's teacher labels images, and crops are cut from them at random. For a crop the training input reads "
        "an image and its label. Our target is at most twice the time of hard labels. `label.soft.k=3` has 8 bits by "
        "default. The last column reads the label alone. Soft labels hold the hard ones as well. All probabilities of "
        "Cityscapes' 19 classes would take 76 bytes per pixel.",
    ),
    Section(
        "centroid_index",
        "The centroid index",
        "python -m benchmarks.centroid_index --json",
        "The benchmark finds the connected components of label maps. Class-balanced crops are drawn from these.",
    ),
    Section(
        "plan_fast_scnn",
        "FastSCNN at 1024 px on v5e slices of 16, 4 and 256 chips, compiled only",
        plan("fast_scnn", 1024, "v5e:4x4", 16),
        "The program computes in bfloat16, with one crop per chip. It was compiled and not run. `batch` is the number "
        "of chips: a chip does the same work for any size of the slice. The estimate below the table is of 16 chips. "
        "Our target is at most 8 GB per step. The compiler counts as traffic what stays in the chip's vector memory. "
        "This is what the step "
        "accessed by its count, change after change.\n\n"
        "| step | GB |\n| --- | --: |\n"
        "| without any of these changes | 22.8 |\n"
        "| with our rules for gradients (1.95 GiB, 53.7 GFLOP) | 19.4 |\n"
        "| without the compiler's space-to-batch | 10.5 |\n"
        "| convolutions of few channels on blocks of pixels (`csst_jax/models/ops/blocks.py`) | 8.5 |\n\n"
        "Padding with zeros explains the additional GFLOP. A barrier then frees the full-size logits before the "
        "gradient of the trunk begins. No logs of these steps were kept.",
    ),
    Section(
        "plan_fast_scnn_2x2",
        "The same on 4 chips",
        plan("fast_scnn", 1024, "v5e:2x2", 4),
        rows_of="plan_fast_scnn",
    ),
    Section(
        "plan_fast_scnn_16x16",
        "The same on 256 chips",
        plan("fast_scnn", 1024, "v5e:16x16", 256),
        rows_of="plan_fast_scnn",
    ),
    Section(
        "plan_pspnet",
        "PSPNet with ResNet-101 at 769 px, two crops per chip",
        plan("pspnet_resnet101", 769, "v5e:4x4", 32),
        "This is the paper's large network in bfloat16, without rematerialisation.",
    ),
    Section(
        "plan_ocr",
        "OCR with HRNet-W48 at 769 px, two crops per chip",
        plan("ocr_hrnet_w48", 769, "v5e:4x4", 32),
        "This network also computes in bfloat16, without rematerialisation.",
    ),
    Section(
        "plan_dinov2_v5e",
        "DINOv2-B with a DPT head at 798 px, one crop per chip of a v5e slice",
        plan("dpt_dinov2_base", 798, "v5e:2x4", 8, f"{_ADAMW} --config.teacher.remat=True"),
        "UniMatch V2's network at its size for Cityscapes, with AdamW in bfloat16. Each block of the transformer is "
        "computed again in the backward pass (`remat`).",
    ),
    Section(
        "plan_dinov2_v6e",
        "The same on a v6e slice",
        plan("dpt_dinov2_base", 798, "v6e:2x4", 8, f"{_ADAMW} --config.teacher.remat=True"),
        "A chip of v6e has twice the memory. The compiler took most of an hour of one core for this step.",
    ),
)
