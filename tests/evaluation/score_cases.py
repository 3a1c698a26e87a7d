"""Images that definitions of scores are compared on: the same for the recorder and the test."""

import numpy as np

NUM_CLASSES = 6
CASES = ("plain", "absent", "predicted_alone", "void")


def make_case(name):
    """Labels and predictions, uint8 [3, 24, 32]; 255 is void."""
    rng = np.random.default_rng(CASES.index(name))
    labels = rng.integers(0, NUM_CLASSES, (3, 24, 32)).astype(np.uint8)
    guesses = rng.integers(0, NUM_CLASSES, labels.shape).astype(np.uint8)
    predictions = np.where(rng.random(labels.shape) < 0.6, labels, guesses)
    if name in ("absent", "predicted_alone"):  # class 4 is not in the ground truth
        labels[labels == 4] = 1
    if name == "absent":  # nor predicted
        predictions[predictions == 4] = 2
    if name == "void":
        labels[rng.random(labels.shape) < 0.3] = 255
    return labels, predictions
