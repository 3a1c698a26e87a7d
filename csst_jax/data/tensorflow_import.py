"""TensorFlow without Keras, which it loads with itself where it can, and which loads matplotlib: a second for nothing.

Where Keras cannot be imported TensorFlow starts without it. It is hidden for that moment only: `tf.keras` is loaded as
ever by whoever uses it.
"""

import sys
from typing import Any, cast

_hidden = not {"keras", "tensorflow"} & sys.modules.keys()
if _hidden:
    cast("dict[str, Any]", sys.modules)["keras"] = None
try:
    import tensorflow as tf
finally:
    if _hidden:
        del sys.modules["keras"]

__all__ = ["tf"]
