"""How rows are put to people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from headwater.components.label.classes import ClassName
from headwater.components.label.human.forms import FORMS

View = Literal["text", "image", "table"]
"""How a column is shown: as running text, as the picture at its URL, or as a line of a table of names and values."""


class Tasks(pydantic.BaseModel):
    """What people are asked, and how often.

    Attributes:
      classes: the names of the classes, at least two: the answers to choose from.
      format: "label_studio" (tasks and the labelling configuration of a project of Label Studio), "csv" or "jsonl".
      columns: the columns that are shown, in this order, each as "text", "image" (it holds URLs) or "table"; by default
        all that are neither private nor hidden, as a table.
      hidden: columns that are not shown although they are not private, as one that holds the truth.
      question: what is asked.
      rows: the most rows that are asked about where none are chosen.
      overlap: how many people answer each row.
      gold: a column that holds the class of some rows, and is missing on the others: those are mixed in as gold questions.
        It is never shown.
      gold_share: the share of gold questions among all tasks, in [0, 0.5].
      cost: of one answer, in any currency.
      budget: the most that all answers may cost; fewer rows are asked about where it does not suffice. None for no limit.
      seed: of the order of gold questions, and of the rows where none are chosen.
      project: a name that tasks carry and answers bring back, so that those of another project are refused; by default
        the dataset's name and a digest of the classes.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    classes: Annotated[list[ClassName], pydantic.Field(min_length=2)]
    format: str = "label_studio"
    columns: dict[str, View] = {}
    hidden: list[str] = []
    question: Annotated[str, pydantic.Field(min_length=1)] = "Which class is it?"
    rows: Annotated[int, pydantic.Field(ge=1)] = 1_000
    overlap: Annotated[int, pydantic.Field(ge=1, le=100)] = 1
    gold: str = ""
    gold_share: Annotated[float | int, pydantic.Field(ge=0, le=0.5)] = 0.0
    cost: Annotated[float | int, pydantic.Field(ge=0)] = 0
    budget: Annotated[float | int, pydantic.Field(gt=0)] | None = None
    seed: int = 0
    project: str = ""

    @pydantic.field_validator("format")
    @classmethod
    def _format(cls, name: str) -> str:
        if name not in FORMS:
            raise ValueError(f"must be one of {', '.join(FORMS)}")
        return name

    @pydantic.model_validator(mode="after")
    def _together(self) -> Tasks:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a class is given twice")
        shown = next((name for name in self.columns if name in {*self.hidden, self.gold}), None)
        if shown is not None:
            raise ValueError(f"columns: {shown!r} is hidden or holds the gold answers, so it cannot be shown")
        if self.gold_share and not self.gold:
            raise ValueError("gold: must name the column that holds the class, because gold_share is set")
        if self.budget is not None and not self.cost:
            raise ValueError("cost: must be above 0, because a budget is set")
        return self


def project_of(given: str, dataset: str, classes: Sequence[str]) -> str:
    """The name that tasks carry.

    Args:
      given: by the user; empty for none.
      dataset: the dataset's name; empty for plain files.
      classes: the answers to choose from.
    """
    digest = hashlib.sha256(json.dumps(sorted(classes)).encode()).hexdigest()[:8]
    return given or f"{dataset or 'rows'}-{digest}"
