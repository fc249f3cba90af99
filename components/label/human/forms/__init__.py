"""In which forms tasks go out and votes come back. A new form is a module here, and its line in `FORMS`."""

from __future__ import annotations

from headwater.components.label.human.forms import csv, jsonl, label_studio
from headwater.components.label.human.forms.base import Form

FORMS: dict[str, Form] = {
    each.name: each
    for each in (
        label_studio.FORM,
        csv.FORM,
        jsonl.FORM,
    )
}
"""Every form by its name."""
