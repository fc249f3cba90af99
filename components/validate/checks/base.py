"""What a check is: its settings, how it runs, and what it reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.components.validate.context import Context
    from headwater.components.validate.plots import Plot


@dataclasses.dataclass
class Outcome:
    """What a check reports.

    Attributes:
      findings: made by `findings.finding`.
      skipped: why the check did not run, in one clause; empty when it ran.
      summary: what the manifest holds under the check's name; None for nothing.
      measures: distances, as the manifest lists them.
      changes: features that were compared, as the manifest lists them.
      drawn: gives what the page draws of each feature that was compared and may be shown, by split, feature and kind.
    """

    findings: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    skipped: str = ""
    summary: dict[str, Any] | None = None
    measures: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    changes: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    drawn: dict[tuple[str, str, str], Callable[[], Plot]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """One check.

    Attributes:
      name: in lower case with underscores; the key of its summary in the manifest.
      title: what it checks, in a few words, for the page and `--help`.
      run: does the work.
      settings: the settings that it adds, by name: a type that pydantic reads, and the default.
      prepare: raises HeadwaterError when the check cannot run as it is set; called before any check runs.
    """

    name: str
    title: str
    run: Callable[[Context], Outcome]
    settings: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    prepare: Callable[[Context], None] = lambda context: None
