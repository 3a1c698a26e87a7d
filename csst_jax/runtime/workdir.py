"""Names of what a run keeps in its workdir, for those who write and those who read it.

Below the workdir each stage has a directory of its own; docs/how_it_works.md shows which.
The file of a trained network is `csst_jax.models.weights.locate.MODEL_FILE`.
"""

CONFIG_FILE = "config.json"
"""The resolved configuration of the last start."""
RUN_FILE = "run.json"
"""The command, the data and the versions."""
LOG_FILE = "log.txt"
ERROR = "error: "
"""Begins the last line of the log where an error ended the run."""
LOCK_FILE = ".lock"
"""Held by the process that runs."""
RESULTS_FILE = "results.json"
"""Of all stages, written at the end."""
LABELS = "pseudo_labels"
"""Directory of the stage that labels; later rounds have theirs under `rounds`."""

STAGE_FILE = "stage.json"
"""In the directory of a stage: what it was asked for."""
DONE_FILE = "DONE"
"""In the directory of a finished stage: what it gave."""
METRICS_FILE = "metrics.jsonl"
"""In the directory of a training stage: its curves."""
WANDB_FILE = "wandb.json"
"""In the directory of a training stage: the id of its run in Weights & Biases."""
CHECKPOINTS = "checkpoints"
"""In the directory of a training stage."""
EVALUATION = "evaluation"
"""In the directory of a training stage: the stage that scores its network."""
SHEET_FILE = "contact_sheet.png"
"""Pictures of pseudo labels, or of the images that `csst suggest` names."""
