"""The settings of label: a list of methods, each checked with the key named before any work starts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic

from headwater.components.common.acknowledging import in_force
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import beam_options, section
from headwater.components.common.settings import PLACE, checked, whole_numbers
from headwater.components.label.asking.settings import Ask, check_together
from headwater.components.label.classes import ClassName, as_text
from headwater.components.label.methods import METHODS, Step

MOST_CLASSES = 100


class _Common(pydantic.BaseModel):
    """What every step says, whatever its method; but for the method the same in all of them.

    Attributes:
      method: one of the methods' names.
      classes: the names of the classes, at least two.
      label: the column that the dataset gains.
      truth: a column that holds the class of rows of which it is known: what labels are compared with, on the page and in
        the manifest. No method sees it.
      truth_input: the name of the input that has this column, beside the dataset's key; the dataset itself by default.
      carried_from: the labels of an earlier span, whose rows that were too young are taken over: `auto`, which is those
        of the latest span before with the same label, classes and methods, if there are any; `none`; `span:<n>`; or a
        URI.
    """

    model_config = pydantic.ConfigDict(extra="ignore", strict=True)

    method: str
    classes: Annotated[list[ClassName], pydantic.Field(min_length=2, max_length=MOST_CLASSES)]
    label: Annotated[str, pydantic.Field(min_length=1)] = "label"
    truth: str = ""
    truth_input: str = ""
    carried_from: str = "auto"


class Section(pydantic.BaseModel):
    """How rows are labelled.

    Attributes:
      steps: methods with their settings, run in order; a row keeps the first label that it gets. None to label nothing.
      method: which of the steps are run: `all`; `auto`, those that suit how fast the ground truth changes, as the latest
        verdict before estimates it; or those that suit a pace that is known: labels last `months`, `weeks`, `days` or
        `hours`.
      inputs: paths or URIs of further data, by the names that the steps use.
      as_of: the time that the labels are of, ISO 8601: until when feedback is known. By default the end of a span whose
        paths name dates.
      ask: which rows people are asked about next, written as tasks when the rows are labelled; left out to ask nobody.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    steps: list[dict[Any, Any]] = []
    method: Literal["all", "auto", "months", "weeks", "days", "hours"] = "all"
    inputs: dict[str, Annotated[str, PLACE]] = {}
    as_of: str = ""
    ask: Ask | None = None


def from_project(project: Mapping[str, Any], as_of: str = "") -> dict[str, Any]:
    """The arguments of `label_dataset`, less `dataset` and `output`, from the sections label and platform.

    Args:
      project: the settings of a pipeline.
      as_of: a time in place of that of the project.

    Raises:
      HeadwaterError: names the key, what is wrong with it and what is allowed.
    """
    given = checked(Section, section(project, "label"), "label")
    steps = check_steps(given.steps, "label.steps") if given.steps else []
    check_as_of(as_of or given.as_of)
    if given.ask is not None:
        check_together(given.ask)
        if not steps and not given.ask.classes:
            raise HeadwaterError("label.ask.classes: name the classes; no step of label names them")
    return {
        "steps": given.steps,
        "method": given.method,
        "inputs": given.inputs,
        "as_of": as_of or given.as_of,
        **in_force(project),
        **beam_options(project),
    }


def ask_from_project(project: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of `ask_rows`, less `dataset` and `output`, from the sections label and platform; None where nobody is
    asked.

    Args:
      project: the settings of a pipeline, as `from_project` has checked them.
    """
    given = checked(Section, section(project, "label"), "label")
    if given.ask is None:
        return None
    steps = check_steps(given.steps, "label.steps") if given.steps else []
    first = steps[0] if steps else None
    return {
        "ask": given.ask.model_dump(exclude_unset=True),
        "classes": list(first.classes) if first else [],
        "label": first.label if first else "",
        "hidden": sorted({name for step in steps for name in (step.hidden, _gold_of(step)) if name}),
        "inputs": given.inputs,
        **beam_options(project),
    }


def _gold_of(step: Step) -> str:
    """The dataset's column of gold that a step learns from; empty for none."""
    return "" if getattr(step.settings, "gold_input", "") else getattr(step.settings, "gold", "")


def step_models() -> list[type[pydantic.BaseModel]]:
    """A model of each method's steps, for those who describe the settings."""
    models = []
    for name, method in METHODS.items():
        own: Any = (Literal[name], ...)
        base = (_Common, method.Settings)
        models.append(pydantic.create_model(name, __base__=base, __doc__=method.__doc__, method=own))
    return models


def check_steps(steps: Sequence[Mapping[str, Any]], key: str = "steps") -> list[Step]:
    """The steps as their methods' settings.

    Args:
      steps: methods with their settings.
      key: what they stand under, for errors.

    Raises:
      HeadwaterError: names the step and the key, what is wrong with it and what is allowed.
    """
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        raise HeadwaterError(f"{key}: must be a list with at least one step; given: {steps!r}")
    steps_checked: list[Step] = []
    for number, given in enumerate(steps):
        where = f"{key}.{number}"
        if not isinstance(given, Mapping):
            raise HeadwaterError(
                f"{where}: must be a mapping with `method`, `classes` and the method's settings; given: {given!r}"
            )
        given = as_json(where, given)
        common = checked(_Common, given, where)
        if common.method not in METHODS:
            raise HeadwaterError(
                f"{where}.method: there is no method {common.method!r}; the methods are {', '.join(METHODS)}"
            )
        twice = next((name for name in common.classes if common.classes.count(name) > 1), None)
        if twice is not None:
            raise HeadwaterError(f"{where}.classes: the class {twice!r} is given twice")
        if common.label.startswith("_"):
            raise HeadwaterError(
                f"{where}.label: {common.label!r}: names that begin with '_' are reserved for Headwater"
            )
        if common.label == "split":
            raise HeadwaterError(
                f"{where}.label: 'split' is the name of the column that holds a row's split; give the label another "
                "name"
            )
        if common.truth_input and not common.truth:
            raise HeadwaterError(
                f"{where}.truth: must name the column of the input {common.truth_input!r} that holds the class"
            )
        if steps_checked:
            common = _as_first(where, common, steps_checked[0])
        rest = {name: value for name, value in given.items() if name not in _Common.model_fields}
        method = METHODS[common.method]
        settings = checked(method.Settings, rest, where)
        method.check(where, settings, common.classes)
        steps_checked.append(
            Step(where, **{**common.model_dump(), "classes": tuple(common.classes)}, settings=settings)
        )
    return steps_checked


def _as_first(where: str, common: _Common, first: Step) -> _Common:
    """What a step shares with the first one, which it may leave out."""
    shared = {name: getattr(first, name) for name in _Common.model_fields if name != "method"}
    shared["classes"] = list(first.classes)
    for name in common.model_fields_set - {"method"}:
        if getattr(common, name) != shared[name]:
            raise HeadwaterError(
                f"{where}.{name}: must be the same as in steps.0, because all steps write one label column; it is "
                f"{shared[name]!r} there and {getattr(common, name)!r} here"
            )
    return common.model_copy(update=shared)


def as_json(where: str, given: Any) -> Any:
    """Settings as JSON has them, however they came: keys are text, and whole numbers integers.

    Raises:
      HeadwaterError: an integer and its digits are two keys of one mapping.
    """
    if isinstance(given, Mapping):
        named = [(as_text(key), key) for key in given]
        twice = next((name for name, key in named if name is not key and name in given), None)
        if twice is not None:
            raise HeadwaterError(f"{where}: the key {twice} is given twice, as an integer and as text")
        return {name: as_json(f"{where}.{name}", given[key]) for name, key in named}
    if isinstance(given, (list, tuple)):
        return [as_json(f"{where}.{number}", part) for number, part in enumerate(given)]
    return whole_numbers(given)


def check_as_of(text: str) -> datetime.datetime | None:
    """A point in time of ISO 8601, UTC where it names no zone; None for the empty string.

    Raises:
      HeadwaterError: it is none.
    """
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise HeadwaterError(f"as_of: {text!r} is not an ISO 8601 time, for example 2026-01-31T00:00:00Z") from None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    except OverflowError:
        raise HeadwaterError(f"as_of: {text!r} is outside the years 1 to 9999 in UTC") from None
