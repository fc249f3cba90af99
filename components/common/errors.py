"""The one exception that users are meant to read."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


class HeadwaterError(Exception):
    """Input, a setting or a stored result is wrong, and the message says what would be right.

    The message names the file, row, column or key. It never holds a secret, nor a whole row.
    """


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Ends the process with one line instead of a traceback when a `HeadwaterError` or SIGTERM comes through.

    The components' faces run in it, so that a task's log on Kubeflow ends with the sentence that helps, and the pod with it.
    """
    from headwater.components.common import last_words, local_beam, logs
    from headwater.components.common.ending import ended_cleanly

    # kfp's own word for a task's process.
    if os.environ.get("_KFP_RUNTIME") == "true":
        local_beam.claim_process()
    try:
        logs.set_form()
        with ended_cleanly():
            yield
    except HeadwaterError as error:
        last_words.leave(str(error))
        sys.exit(f"error: {error}")
    except Exception as error:
        last_words.leave(f"{type(error).__name__}: {error}")
        raise
