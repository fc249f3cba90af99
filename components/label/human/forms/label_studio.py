"""Label Studio: a project's tasks with their labelling configuration, and its export as it is."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.dataset import WHOLE, Dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.common.sources.formats.jsonarrays import as_lines, is_document
from headwater.components.label.human.forms.base import BATCH, PROJECT, ROW, VOTES, Batch, Task, as_json

ANSWER = "answer"
"""The name of the control that takes the answer."""

_QUESTION, _TABLE, _KEY = "question", "table", "_key"
_CHUNK = 1 << 22
_HEAD = 1 << 16

# One row an annotation. An export holds whatever a project's users and plug-ins put there, so that nothing but what a vote
# consists of is looked at: who, when, how long, and the choices of the control that takes the answer.
_READ = """
WITH tasks AS (SELECT number, line -> '$.data' AS data, CAST(line -> '$.annotations' AS JSON[]) AS annotations FROM given),
annotations AS (SELECT number, data, unnest(annotations) AS a FROM tasks),
answers AS (
  SELECT *, list_filter(CAST(a -> '$.result' AS JSON[]), lambda r:
    (r ->> '$.type') = 'choices' AND (r ->> '$.from_name') = $answer) AS results
  FROM annotations
)
SELECT
  number AS line,
  data ->> '$._row' AS "_row",
  data ->> '$._project' AS "_project",
  data ->> '$._batch' AS "_batch",
  coalesce(a ->> '$.completed_by.email', a ->> '$.completed_by.id', a ->> '$.completed_by') AS rater,
  array_to_string(flatten(list_transform(results, lambda r: CAST(r -> '$.value.choices' AS VARCHAR[]))), ' + ') AS answer,
  TRY_CAST(a ->> '$.lead_time' AS DOUBLE) AS seconds,
  epoch_us(TRY_CAST(a ->> '$.created_at' AS TIMESTAMP)) AS time,
  coalesce(TRY_CAST(a ->> '$.was_cancelled' AS BOOLEAN), false) AS cancelled,
  coalesce(TRY_CAST(a ->> '$.ground_truth' AS BOOLEAN), false) AS ground_truth,
  coalesce(data -> '$._key', data) AS "_data"
FROM answers
"""

_FIRST_WRONG = """
SELECT min(number) FROM given WHERE coalesce(json_type(line, '$.annotations'), '') <> 'ARRAY'
  OR coalesce(json_type(line, '$.data'), '') <> 'OBJECT'
"""


@dataclasses.dataclass(frozen=True)
class Export:
    """An export of Label Studio's, read as a whole by one worker in chunks.

    Attributes:
      uri: the file.
      rows: how many tasks it has.
    """

    uri: str
    rows: int


class _LabelStudio:
    name = "label_studio"

    def open(self, uri: str) -> Dataset | None:
        """An export as a dataset of `Export`s; None where the files are something else."""
        if not uri.lower().endswith(".json"):
            return None
        files = [file.uri for file in storage.expand(storage.normalise(uri))]
        digest, elements = hashlib.sha256(), []
        for file in files:
            with storage.open_input(file) as stream:
                if not is_document(stream.read(_HEAD)):
                    return None
            own = hashlib.sha256()
            rows = sum(len(lines) for _, lines in _lines(file, own))
            digest.update(own.digest())
            elements.append(Export(file, rows))
        identity = digest.hexdigest()
        body = {"lineage": {"sources": [{"uri": each.uri, "rows": each.rows} for each in elements]}}
        manifest = {"kind": "dataset", "fingerprint": identity, "home": None, "body": body}
        return Dataset(Result(uri, manifest, identity), VOTES, [], {WHOLE: elements})

    def read(self, element: Export, answer: str, key: Sequence[str]) -> Iterator[pa.Table]:
        """The annotations of an export: the columns of `VOTES`, and those of the key as text.

        Args:
          element: the export.
          answer: the name of the control that takes the answer.
          key: the columns of the dataset's key, for tasks that carry no `_row`.
        """
        import duckdb

        connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        keys = ", ".join(
            f"""_data ->> {_literal('$."' + name.replace('"', '""') + '"')} AS {_quoted(name)}""" for name in key
        )
        query = f"SELECT * EXCLUDE (_data){', ' + keys if keys else ''} FROM ({_READ})"
        for first, lines in _lines(element.uri):
            table = pa.table({"number": pa.array(range(first, first + len(lines)), pa.int64()), "line": lines})
            connection.register("given", table)
            wrong = connection.execute(_FIRST_WRONG).fetchone()
            if wrong and wrong[0] is not None:
                raise HeadwaterError(
                    f"{element.uri}: task {wrong[0]:,} has no `data` and `annotations`; export the project from Label "
                    "Studio as JSON, not as JSON-MIN"
                )
            try:
                found = connection.execute(query, {"answer": answer}).fetch_arrow_table()
            except duckdb.Error as error:
                raise HeadwaterError(
                    f"{element.uri}: tasks {first:,} to {first + len(lines) - 1:,} are not as Label Studio exports them "
                    f"({str(error).splitlines()[0].partition(':')[0]}); export the project again, as JSON"
                ) from None
            yield found

    def write(self, batch: Batch) -> Mapping[str, bytes]:
        config = _config(batch)
        project = {
            "title": batch.project[:50],
            "description": batch.settings.question,
            "label_config": config.decode(),
            "maximum_annotations": batch.settings.overlap,
        }
        return {
            "tasks.json": as_json([{"data": _data(batch, task)} for task in batch.tasks]),
            "label_config.xml": config,
            "project.json": as_json(project),
        }


def _lines(uri: str, digest: Any = None) -> Iterator[tuple[int, pa.Array]]:
    """The tasks of an export as texts of JSON, with the number of the first of each chunk, from 1."""
    with storage.open_input(uri) as stream:

        def chunks() -> Iterator[bytes]:
            for chunk in iter(functools.partial(stream.read, _CHUNK), b""):
                if digest is not None:
                    digest.update(chunk)
                yield chunk

        left, number = b"", 1
        for part in as_lines(uri, chunks()):
            whole, _, left = (left + part).rpartition(b"\n")
            for lines in _tasks_of(uri, whole):
                yield number, lines
                number += len(lines)
        for lines in _tasks_of(uri, left):
            yield number, lines


def _tasks_of(uri: str, text: bytes) -> Iterator[pa.Array]:
    lines = [line for line in text.split(b"\n") if line.strip()]
    if lines:
        try:
            yield pa.array(lines, pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            raise HeadwaterError(f"{uri}: is not UTF-8, as exports of Label Studio are") from None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _fields(batch: Batch) -> dict[str, str]:
    """The name in a task's data of each column that is not in the table: no column's name can break the configuration."""
    apart = [name for name, view in batch.views.items() if view != _TABLE]
    return {name: f"{batch.views[name]}_{number}" for number, name in enumerate(apart, 1)}


def _data(batch: Batch, task: Task) -> dict[str, Any]:
    fields = _fields(batch)
    data: dict[str, Any] = {ROW: task.row, PROJECT: batch.project, BATCH: batch.batch}
    if task.key:
        data[_KEY] = dict(task.key)
    data[_QUESTION] = batch.settings.question
    for name, field in fields.items():
        data[field], data[f"{field}_title"] = task.shown[name] or "", name
    table = {name: task.shown[name] or "" for name, view in batch.views.items() if view == _TABLE}
    return {**data, _TABLE: table} if table else data


def _config(batch: Batch) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value=f"${_QUESTION}")
    first = ""
    for name, field in _fields(batch).items():
        ElementTree.SubElement(view, "Header", value=f"${field}_title", size="5")
        kind = "Image" if batch.views[name] == "image" else "Text"
        ElementTree.SubElement(view, kind, name=field, value=f"${field}")
        first = first or field
    if _TABLE in batch.views.values():
        ElementTree.SubElement(view, "Table", name=_TABLE, value=f"${_TABLE}")
        first = first or _TABLE
    choices = ElementTree.SubElement(
        view, "Choices", name=ANSWER, toName=first, choice="single", required="true", showInline="true"
    )
    for each in batch.settings.classes:
        ElementTree.SubElement(choices, "Choice", value=each)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode").encode()


FORM = _LabelStudio()
