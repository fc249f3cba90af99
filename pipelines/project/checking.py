"""What can be known of a project before any work: whether its settings, files, credentials and expressions are right."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from headwater.components.collect import spans
from headwater.components.common import storage, stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import platform
from headwater.components.common.references import find, is_reference
from headwater.components.common.results import Home
from headwater.pipelines.project import model
from headwater.pipelines.project.columns import Columns, known_columns, wrong_names
from headwater.pipelines.project.loading import Project


class Checked(NamedTuple):
    """One thing that was looked at: what, and how it is; `problem` is empty where it is right."""

    what: str
    state: str
    problem: str = ""


def check_sources(project: Project) -> None:
    """Refuses sources and inputs that are not there.

    Raises:
      HeadwaterError: names the first.
    """
    with project.errors():
        for source in project.settings.get("sources") or []:
            if isinstance(source, str):
                spans.files(source)
        for uri in (project.settings.get("label") or {}).get("inputs", {}).values():
            storage.expand(uri)


def check_references(project: Project) -> None:
    """Finds out now, and not after minutes of work, that a reference leads nowhere.

    Raises:
      HeadwaterError: names the reference.
    """
    from headwater.components.validate.baselines import find_baseline

    settings = project.settings
    base_schema = (settings.get("schema") or {}).get("base_schema", "auto")
    if not is_reference(base_schema):
        from headwater.components.infer_schema.derive import find_schema_file

        find_schema_file(storage.normalise(base_schema), f"base_schema: {base_schema}")
    home_uri = platform(settings).data_root
    if not home_uri:
        return
    span = (settings.get("collect") or {}).get("span", -1)
    home = Home(storage.normalise(home_uri), settings.get("name", "data"), span if span >= 0 else sys.maxsize, 1)
    baseline = (settings.get("validate") or {}).get("baseline", "auto")
    if baseline not in ("auto", "none"):
        find_baseline(baseline, home)
    if base_schema in ("latest", "previous") or base_schema.startswith("span:"):
        find(base_schema, "schema", home)


def check_all(project: Project) -> Iterator[Checked]:
    """Everything that can be known without the work, one after the other; a problem stops nothing."""
    yield _checked(
        project, "settings", lambda: model.check(project.settings), project.uri or "there is no project file"
    )
    for place, source in enumerate(project.settings.get("sources") or []):
        if isinstance(source, str):
            yield _checked(project, f"source {source}", functools.partial(_readable, source))
        elif isinstance(source, Mapping):
            yield _checked(
                project, f"source {', '.join(map(str, source))}", functools.partial(_database, place, source)
            )
    for path, uri in model.places(project.settings):
        if path[0] != "sources":
            yield _checked(project, f"{'.'.join(map(str, path))} {uri}", functools.partial(_there, path, uri))
    yield _checked(project, "references", lambda: check_references(project), "")
    yield from _check_variables(project)
    yield from _check_expressions(project)


def _checked(project: Project, what: str, work: Callable[[], Any], state: str = "") -> Checked:
    try:
        with project.errors():
            answer = work()
    except HeadwaterError as error:
        return Checked(what, "", str(error))
    return Checked(what, answer if isinstance(answer, str) else state)


def _readable(source: str) -> str:
    files = spans.files(source)
    for uri in (files[0], files[-1]):
        with storage.open_input(uri) as stream:
            stream.read(1)
    return f"{len(files):,} {'file' if len(files) == 1 else 'files'}"


def _database(place: int, source: Mapping[str, Any]) -> str:
    from headwater.components.collect.databases import parse_source

    try:
        parse_source(source, f"sources.{place}").check()
    except HeadwaterError as error:
        raise HeadwaterError(str(error) if str(error).startswith("sources.") else f"sources.{place}.{error}") from None
    return "what it needs is installed"


def _there(path: Sequence[str | int], uri: str) -> str:
    """Whether what a setting names is there; a home and a file that is written need not be."""
    key = ".".join(map(str, path))
    if path == ("platform", "data_root"):
        if stores.scheme(uri):
            storage.filesystem(uri)
            return "credentials are there"
        folder = storage.normalise(uri)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise HeadwaterError(f"{key}: {uri} cannot be written to")
        return "can be written to"
    if path[0] == "alerts":
        return "is written"
    try:
        storage.expand(uri)
    except HeadwaterError as error:
        raise HeadwaterError(f"{key}: {error}") from None
    return "is there"


def _check_variables(project: Project) -> Iterator[Checked]:
    """The environment variables that settings need or name; never their values."""
    from headwater.components.collect.privacy.actions import parse_actions, read_secret

    private = (project.settings.get("collect") or {}).get("private")
    if isinstance(private, Mapping) and private:
        yield _checked(
            project, "collect.private", lambda: read_secret(parse_actions(private)) and "the key is there", ""
        )
    for place, alert in enumerate(project.settings.get("alerts") or []):
        for key, name in alert.items() if isinstance(alert, Mapping) else ():
            if str(key).endswith("_env") and name:
                problem = f"alerts.{place}.{key}: the environment variable {name} is not set"
                yield Checked(f"alerts.{place}.{key}", f"{name} is set", "" if os.environ.get(str(name)) else problem)


def _check_expressions(project: Project) -> Iterator[Checked]:
    """SQL of settings: parsed, and its columns looked for where the data names them at its beginning."""
    from headwater.components.common.expressions import check_expression

    yield from _check_columns(project)
    for where, text, columns in _expressions(project.settings, known_columns(project.settings)):

        def work(where: str = where, text: str = text, columns: list[str] | None = columns) -> None:
            check_expression(where, text, columns)

        yield _checked(project, where, work)


def _check_columns(project: Project) -> Iterator[Checked]:
    """Whether the columns that settings name are there, where the data names its columns at its beginning."""
    for key, problem in wrong_names(project.settings):
        yield Checked(key, "", str(project.placed(HeadwaterError(f"{key}: {problem}"))))


def _expressions(settings: Mapping[str, Any], known: Columns | None) -> Iterator[tuple[str, str, list[str] | None]]:
    """Each expression with its key and the columns that it may name, None for any; `known` are those of the data."""
    collect = settings.get("collect") or {}
    columns = None if known is None else list(known.collected)
    for place, each in _mappings(collect.get("derived")):
        yield f"collect.derived.{place}.expression", str(each.get("expression")), columns
        columns = None if columns is None else [*columns, str(each.get("name"))]
    for place, each in _mappings(collect.get("filters")):
        yield f"collect.filters.{place}.keep", str(each.get("keep")), columns
    steps = _mappings((settings.get("label") or {}).get("steps"))
    final = None if known is None or columns is None else list(dict.fromkeys([*known.final, *columns]))
    rules = ((settings.get("validate") or {}).get("rows") or {}).get("rules")
    for place, each in _mappings(rules):
        if each.get("row"):
            yield f"validate.rows.rules.{place}.row", str(each["row"]), final
    for place, each in _mappings((settings.get("statistics") or {}).get("slices")):
        yield f"statistics.slices.{place}.where", str(each.get("where")), final
    for place, step in steps:
        if step.get("outcome"):
            yield f"label.steps.{place}.outcome", str(step["outcome"]), None
        for number, function in _mappings(step.get("functions")):
            if function.get("sql"):
                yield f"label.steps.{place}.functions.{number}.sql", str(function["sql"]), columns


def _mappings(value: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """The entries of a list that are mappings, each with its number."""
    listed = value if isinstance(value, (list, tuple)) else ()
    return [(place, each) for place, each in enumerate(listed) if isinstance(each, Mapping)]
