"""The state as a text file for Prometheus' node exporter."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.alerts.channels.base import Channel, Findings, Verdict
from headwater.components.validate.alerts.settings import Alert

_MOST_DISTANCES = 2000


def send(verdict: Verdict, findings: Findings, alert: Alert, key: str) -> None:
    assert alert.path is not None, "the settings demand it"
    _write(alert.path, as_text(verdict))


def as_text(verdict: Verdict) -> str:
    """The state as text for Prometheus."""

    def labels(**values: Any) -> str:
        def escaped(value: Any) -> str:
            return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

        return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in values.items()) + "}"

    name = verdict.get("dataset") or ""
    severities = [finding["severity"] for finding in verdict["findings"]]
    text_lines = [
        "# HELP headwater_validation_blessed Whether the latest validation found no error.",
        "# TYPE headwater_validation_blessed gauge",
        f"headwater_validation_blessed{labels(dataset=name)} {int(verdict['blessed'])}",
        "# HELP headwater_validation_span Number of the latest span that was validated.",
        "# TYPE headwater_validation_span gauge",
        f"headwater_validation_span{labels(dataset=name)} {-1 if verdict.get('span') is None else verdict['span']}",
        "# HELP headwater_validation_findings Findings of the latest validation.",
        "# TYPE headwater_validation_findings gauge",
    ]
    text_lines += [
        f"headwater_validation_findings{labels(dataset=name, severity=severity)} {severities.count(severity)}"
        for severity in ("error", "warning")
    ]
    text_lines += [
        "# HELP headwater_check_findings Errors and warnings of the latest validation, by check.",
        "# TYPE headwater_check_findings gauge",
    ]
    text_lines += [
        f"headwater_check_findings{labels(dataset=name, check=check['name'])} {check['errors'] + check['warnings']}"
        for check in verdict["checks"]
        if not check["skipped"]
    ]
    text_lines += [
        "# HELP headwater_distance Distance from the earlier span or from serving data.",
        "# TYPE headwater_distance gauge",
    ]
    for each in verdict["measures"][:_MOST_DISTANCES]:
        own = labels(
            dataset=name, split=each["split"], feature=each["feature"], measure=each["measure"], against=each["against"],
            set_by=each["set_by"],
        )  # fmt: skip
        text_lines.append(f"headwater_distance{own} {each['value']!r}")
    return "\n".join(text_lines) + "\n"


def _write(path: str, text: str) -> None:
    """Writes a file that a reader sees whole or not at all."""
    place = pathlib.Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, suffix=".tmp") as stream:
            stream.write(text)
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, place)
    except OSError as error:
        raise HeadwaterError(f"{path} cannot be written: {error.strerror}") from None


CHANNEL = Channel("prometheus", send, needed=("path",), claims="never", endings={"path": ".prom"})
