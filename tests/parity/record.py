"""Records what the reference implementations compute: `python tests/parity/record.py [CASE …]`, by hand.

In an environment of its own, which the tests do not need:

    pip install torch torchvision timm segmentation_models_pytorch mmsegmentation==1.2.2 mmcv-lite==2.1.0 regex ftfy
    pip install transformers
    git clone https://github.com/LiheYoung/UniMatch-V2 && git clone https://github.com/facebookresearch/dinov3
    export PYTHONPATH=UniMatch-V2:dinov3

Each fixture holds the layout of the reference's state dict, and for weights, images and labels from filling.py: logits
in evaluation mode; logits, statistics and gradients of one training step without dropout. Only samples are kept.
"""

import functools
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.parity import filling  # noqa: E402
from tests.parity.cases import CASES, NUM_CLASSES  # noqa: E402
from tests.parity.references import REFERENCES  # noqa: E402

LIMIT = 200_000  # bytes of a fixture


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
    """`count` of them, from the first to the last; none of none."""
    return sorted({names[i * (len(names) - 1) // (count - 1)] for i in range(count if names else 0)})


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


def train(case, model, forward, filled, seed, noise=0.0, dtype=torch.float64):
    """Samples of one training step's outputs, gradients and statistics."""
    model = model.to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            near = 1.0 + noise * torch.randn(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(filled[name] * near)
    model.train().zero_grad()
    outputs = forward(model, to_torch(filling.images(case.train_size, seed)).to(dtype))
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
        trained = functools.partial(train, case, model, forward, filled)
        kept |= well_conditioned(trained, case.moved)
    kept = {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in kept.items()}
    np.savez_compressed(case.fixture, **kept)
    size = case.fixture.stat().st_size
    assert size < LIMIT, f"{case.fixture} has {size} bytes"
    deviations = {n: round(float(np.std(v)), 2) for n, v in kept.items() if n.startswith(("eval", "train"))}
    print(case.name, size, "seed", kept.get("seed"), deviations, flush=True)


def well_conditioned(step, limit, noise=1e-6, seeds=12):
    """A step with the first images for which float32 suffices.

    No ReLU and no maximum is so close that rounding may decide it: changing all weights by several times float32's
    rounding changes the gradients little. And the reference's own gradients in float32 are near those in float64: where
    a normalisation over two values makes 1 and -1 of them, its gradient is what two nearly equal numbers differ by.
    """
    for seed in range(seeds):
        kept = step(seed)
        moved = [
            max(np.abs(other[n] - v).max() / np.abs(v).max() for n, v in kept.items() if n.startswith("gradient"))
            for other in (step(seed, noise), step(seed, dtype=torch.float32))
        ]
        print(f"  seed {seed}: gradients move by {moved[0]:.1e} with weights, {moved[1]:.1e} in float32", flush=True)
        if max(moved) < limit:
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
