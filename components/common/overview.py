"""A run's overview before validation has written its own: what was collected, and where that page lies."""

from __future__ import annotations

from headwater.components.common import storage
from headwater.components.common.pages import render
from headwater.components.common.results import Home


def start_overview(home: Home, refusal: str) -> None:
    """Writes `reports/index.html` where there is none yet, so that the links of all pages lead somewhere.

    Args:
      home: of the dataset.
      refusal: why the data is not accepted; empty where it is.
    """
    page = render("headwater.components.common", "start.html", name=home.name, span=home.span, refusal=refusal)
    storage.create(home.report("index"), page.encode())
