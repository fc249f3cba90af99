"""What findings of all components share."""

from __future__ import annotations

SEVERITIES = ("error", "warning", "info")
"""What a finding may be, the worst first."""
