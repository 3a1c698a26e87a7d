"""Names as wrappers write them, and checkpoints that are told apart by them."""

import numpy as np
import pytest
import safetensors.numpy

from csst_jax import import_weights
from csst_jax.models.weights import files, prefixes
from csst_jax.models.weights.rules import BATCH_COUNTER, Source, modules
from csst_jax.types import CsstError
from tests.models.weights.files_test import published, toys  # noqa: F401  a fixture

SOURCE = Source("toys", modules((r"(stem|backbone\.layer\d)", r"\1"), (r"head", r"head")), (BATCH_COUNTER,))
NAMES = ("stem.weight", "stem.bias", "backbone.layer1.weight", "backbone.layer2.weight", "head.weight", "head.bias")


def entries(*names):
    return {name: np.zeros(1) for name in names}


def strip(names, prefix=None):
    found, said = prefixes.strip(SOURCE, entries(*names), prefix, "x.pth")
    return set(found), said


def with_prefix(prefix, names=NAMES):
    return [prefix + name for name in names]


@pytest.mark.parametrize(
    "names",
    [
        with_prefix("_orig_mod."),
        with_prefix("model."),
        with_prefix("module."),
        with_prefix("module._orig_mod."),
        with_prefix("_orig_mod.module."),
        with_prefix("model.module.net."),
        [name.replace("layer1.", "layer1._orig_mod.") for name in NAMES],
    ],
)
def test_wrappers_prefixes_come_off(names):
    assert strip(names)[0] == set(NAMES)


def test_names_without_one_stay():
    assert strip(NAMES) == (set(NAMES), [])
    assert strip([*NAMES, "strange.weight"]) == ({*NAMES, "strange.weight"}, []), (
        "what is left over is told by the rules"
    )


def test_what_lies_beside_the_network_is_told():
    found, said = strip([*with_prefix("model."), "criterion.weight", "metric.total"])
    assert found == set(NAMES)
    assert said == [
        "names begin with 'model.', which is left out",
        "2 entries outside of 'model.' are left out: criterion.weight, metric.total",
    ]


def test_other_prefixes_and_several_are_the_users_to_choose():
    with pytest.raises(CsstError, match=r"x.pth: the network's entries begin with 'unet\.'\. Say .*: --prefix=unet\.$"):
        strip(with_prefix("unet."))
    both = with_prefix("student.") + with_prefix("teacher.")
    with pytest.raises(CsstError, match=r"'student\.' and with 'teacher\.'.* --prefix=student\. or --prefix=teacher\."):
        strip(both)
    assert strip(both, "student.")[0] == strip(both, "student")[0] == set(NAMES)
    assert strip(both, "teacher.")[1][1].startswith("6 entries outside of 'teacher.' are left out: student.stem.weight")
    with pytest.raises(
        CsstError, match=r"no entry begins with 'ema\.'; they begin with 'student\.' \(6\), 'teacher\.'"
    ):
        strip(both, "ema")


def test_another_network_is_called_so():
    with pytest.raises(
        CsstError, match=r"none of its 2 entries is one that source 'toys' knows .*begin with 'conv\.' \(2"
    ):
        strip(["conv.weight", "conv.bias"])


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "model.", "module.model."])
def test_files_with_prefixes_are_imported_as_without(tmp_path, toys, prefix):  # noqa: F811
    theirs, ours, _ = published("toy", 5)
    safetensors.numpy.save_file({prefix + name: value for name, value in theirs.items()}, tmp_path / "t.safetensors")
    out = tmp_path / "ours.safetensors"
    said = import_weights.import_weights("toys", str(tmp_path / "t.safetensors"), "toy", str(out))
    arrays, description = files.read(out)
    assert description.num_classes == 5 and arrays.keys() == ours.keys()
    assert any("which is left out" in line for line in said) == bool(prefix.replace("_orig_mod.", ""))


def test_prefix_of_the_users_choice(tmp_path, toys, capsys):  # noqa: F811
    theirs, _, _ = published("toy", 5)
    safetensors.numpy.save_file({f"ema.{name}": value for name, value in theirs.items()}, tmp_path / "t.safetensors")
    arguments = [
        "--source=toys",
        "--network=toy",
        f"--checkpoint={tmp_path}/t.safetensors",
        f"--out={tmp_path}/o.safetensors",
    ]
    assert import_weights.main(arguments) == 2
    proposed = capsys.readouterr().err.rpartition(": ")[2].strip()
    assert proposed == "--prefix=ema."
    assert import_weights.main([*arguments, proposed]) == 0


def test_weights_that_are_not_finite_are_refused(tmp_path, toys):  # noqa: F811
    theirs, ours, _ = published("toy", 5)
    for value, name in ((np.nan, "net.stem.conv.weight"), (np.inf, "net.stem.bn.bias")):
        spoilt = theirs | {name: theirs[name] * value}
        safetensors.numpy.save_file(spoilt, tmp_path / "t.safetensors")
        with pytest.raises(CsstError, match=r"t.safetensors: 1 of \d+ arrays hold values that are not finite"):
            import_weights.import_weights(
                "toys", str(tmp_path / "t.safetensors"), "toy", str(tmp_path / "o.safetensors")
            )
    description = files.Description("toy", {}, 5, "toys", "0" * 64, SOURCE.preprocessing)
    files.write(tmp_path / "o.safetensors", {name: value * np.nan for name, value in ours.items()}, description)
    with pytest.raises(CsstError, match=r"o.safetensors: (\d+) of \1 arrays hold values that are not finite"):
        files.read(tmp_path / "o.safetensors")
