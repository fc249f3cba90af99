"""What can be known of a project before any work: whether its files are there and its references lead somewhere."""

from __future__ import annotations

import sys

from headwater.components.common import storage
from headwater.components.common.project import platform
from headwater.components.common.results import Home, find
from headwater.pipelines.project.loading import Project


def check_sources(project: Project) -> None:
    """Refuses sources and inputs that are not there.

    Raises:
      HeadwaterError: names the first.
    """
    from headwater.components.collect import spans

    with project.errors():
        for source in project.settings.get("sources") or []:
            if isinstance(source, str):
                spans.find_spans(source) if spans.has_span(source) else storage.expand(source)
        for uri in (project.settings.get("label") or {}).get("inputs", {}).values():
            storage.expand(uri)


def check_references(project: Project) -> None:
    """Finds out now, and not after minutes of work, that a reference leads nowhere.

    Raises:
      HeadwaterError: names the reference.
    """
    from headwater.components.validate.baselines import find_baseline

    settings = project.settings
    home_uri = platform(settings).data_root
    if not home_uri:
        return
    span = (settings.get("collect") or {}).get("span", -1)
    home = Home(storage.normalise(home_uri), settings.get("name", "data"), span if span >= 0 else sys.maxsize, 1)
    baseline = (settings.get("validate") or {}).get("baseline", "auto")
    base_schema = (settings.get("schema") or {}).get("base_schema", "auto")
    if baseline not in ("auto", "none"):
        find_baseline(baseline, home)
    if base_schema in ("latest", "previous") or base_schema.startswith("span:"):
        find(base_schema, "schema", home)
