"""TensorFlow Data Validation, imported without the notices that it and TensorFlow print on the way.

Takes seconds: import it where it is used, never at the top of a module that `collect`, `label` or `gate` reach.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# It says on every start that it uses them, and no sum here is TensorFlow's.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
with contextlib.redirect_stderr(io.StringIO()):
    import tensorflow_data_validation as tfdv

__all__ = ["tfdv"]
