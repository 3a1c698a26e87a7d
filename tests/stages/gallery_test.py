"""What a report says of single images."""

import json

import numpy as np

from csst_jax.reporting.gallery import DIRECTORY, INDEX
from csst_jax.stages import gallery
from csst_jax.stages.evaluate import Example


def test_a_network_that_misses_a_small_object_is_not_said_to_be_right(tmp_path):
    """It has 98 % of the pixels that count right."""
    label = np.zeros((10, 20), np.uint8)
    label[0, :2], label[1:6] = 1, 255
    one = Example(0, "crack", np.zeros((10, 20, 3), np.uint8), label, {"teacher": np.zeros((10, 20), np.uint8)})
    gallery.write(tmp_path, [one], [], {}, ((160, 160, 160), (0, 0, 200)))
    said = json.loads((tmp_path / DIRECTORY / INDEX).read_text(encoding="utf-8"))["examples"][0]["said"]
    assert said == "crack: mIoU of this image: teacher 49 %"
