"""The project file, `headwater.yaml`: every setting of a pipeline in one place, read, checked, amended and drafted.

`files` finds, reads and amends its text; `model` says what may stand in it; `loading` puts a file, `--set` and flags
together. Another command that writes settings calls `find`, then `amend`:

    uri = find() or NAME
    append(uri, ("validate", "acknowledged"), {"feature": "age", "until": "2026-12-31", "reason": "…"})
    amend(uri, ("schema", "features", "age", "max"), 120)

Both keep comments and the order of keys, and refuse to write what would not parse to the same settings.
"""

from __future__ import annotations

from headwater.pipelines.project.files import NAME, amend, append, find

__all__ = ["NAME", "amend", "append", "find"]
