"""Privacy for collect: personal data found in columns, what is done with it, and how anonymous groups of rows are.

`detect` finds personal data by values, checksums and column names, and `scrubbing` takes it out of rejected values;
`actions` says what is done with a column, and `transforms` does it: redact, hash, truncate, generalise or drop;
`anonymity` measures k-anonymity over declared columns.
"""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {
    "KINDS": "detect",
    "scan": "detect",
    "merge": "detect",
    "judge": "detect",
    "scrub": "scrubbing",
    "scrub_all": "scrubbing",
    "parse_actions": "actions",
    "check_actions": "actions",
    "output_type": "actions",
    "apply": "transforms",
    "read_secret": "actions",
    "key_fingerprint": "actions",
    "group_state": "anonymity",
    "merge_states": "anonymity",
    "measure": "anonymity",
    "small_groups": "anonymity",
    "in_small_groups": "anonymity",
}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
