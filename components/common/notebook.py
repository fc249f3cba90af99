"""How results look in a notebook: a line, their page in a frame, and a table of pandas."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from headwater.components.common import storage

if TYPE_CHECKING:
    import pandas

    from headwater.components.common.results import Result

_HEIGHT = 640
_NAMES = {
    "dataset": "Dataset",
    "labels": "Labels",
    "statistics": "Statistics",
    "schema": "Schema",
    "anomalies": "Anomalies",
}
# Scripts of a page run, but know nothing of the notebook around it.
_FRAME = (
    '<iframe sandbox="allow-scripts" title="{title}" srcdoc="{page}" '
    'style="width:100%;height:{height}px;border:1px solid #ccc"></iframe>'
)


class Shown:
    """What `Result` and `Dataset` have for notebooks."""

    def __fspath__(self) -> str:
        """So that it is given on wherever a path or URI is taken."""
        return self._shown().uri

    def __repr__(self) -> str:
        return _line(self._shown())

    def _repr_html_(self) -> str:
        return _frame(self._shown())

    def show(self) -> None:
        """Shows the page in a notebook; elsewhere prints what this is and where its page lies."""
        if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
            from IPython.display import HTML, display

            display(HTML(self._repr_html_()))
            return
        print(repr(self))
        place = _page(self._shown())
        if place:
            print(f"page    {place}")

    def to_pandas(self) -> pandas.DataFrame:
        """This as a table of pandas: everything is read into memory.

        Returns:
          A dataset's rows, or rows with their labels, each with its split; statistics, a row for each split and feature;
          a schema, a row for each feature; anomalies, a row for each finding.
        """
        import pandas as pd

        result = self._shown()
        if result.kind in ("dataset", "labels"):
            from headwater.components.common.dataset import open_rows

            return open_rows(result).to_table().to_pandas()
        columns, rows = _TABLES[result.kind]
        return pd.DataFrame([[row.get(name) for name in columns] for row in rows(result)], columns=list(columns))

    def _shown(self) -> Result:
        return cast("Result", self)


def _line(result: Result) -> str:
    """What a result is, on one line."""
    return f"<{_NAMES.get(result.kind, result.kind)} {', '.join([*_said(result), result.uri])}>"


def _frame(result: Result) -> str:
    """A result's page in a frame of its own; its line where there is no page."""
    place = _page(result)
    if place is None:
        return f"<pre>{html.escape(_line(result))}</pre>"
    title = html.escape(_line(result), quote=True)
    return _FRAME.format(title=title, page=html.escape(storage.read_bytes(place).decode(), quote=True), height=_HEIGHT)


def _page(result: Result) -> str | None:
    """URI of a result's page; None for plain files."""
    return result.locate(result.page) if result.page else None


def _said(result: Result) -> Iterator[str]:
    body = result.body
    if result.kind in ("dataset", "labels"):
        splits = body.get("splits")
        if splits is None:
            yield "plain files"
            return
        yield f"{sum(split['rows'] for split in splits.values()):,} rows"
        yield ", ".join(f"{name} {split['rows']:,}" for name, split in splits.items())
        if result.kind == "labels":
            classes = body["labelled"]["classes"]
            yield "labels " + ", ".join(f"{name} {count:,}" for name, count in classes.items())
        if not body["accepted"]:
            yield "not accepted"
    elif result.kind == "statistics":
        yield ", ".join(f"{name} {split['rows']:,} rows" for name, split in body["splits"].items())
        yield f"{max((split['features'] for split in body['splits'].values()), default=0)} features"
    elif result.kind == "schema":
        yield f"{body['features']} features, {body['mode']}"
    elif result.kind == "anomalies":
        yield body["verdict"]


_OF_STATISTICS = (
    "split", "feature", "type", "rows", "missing", "distinct", "mean", "std", "min", "median", "max", "zeros", "top",
)  # fmt: skip


def _statistics(result: Result) -> Iterator[dict[str, Any]]:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    for split in result.body["splits"]:
        content = result.read(f"Split-{split}/FeatureStats.pb")
        whole = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
        for feature in whole[0].features if whole else ():
            yield {"split": split, "rows": whole[0].num_examples, **_of_feature(feature, whole[0].num_examples)}


def _of_feature(feature: Any, rows: int) -> dict[str, Any]:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    kind = feature.WhichOneof("stats")
    values: Any = getattr(feature, kind) if kind else None
    row: dict[str, Any] = {
        "feature": ".".join(feature.path.step) or feature.name,
        "type": statistics_pb2.FeatureNameStatistics.Type.Name(feature.type),
    }
    if values is not None:
        held = values.common_stats
        row["missing"] = 1 - held.num_non_missing / rows if rows else None
    if kind == "num_stats":
        row.update(
            mean=values.mean, std=values.std_dev, min=values.min, median=values.median, max=values.max,
            zeros=values.num_zeros,
        )  # fmt: skip
    elif kind == "string_stats":
        row["distinct"] = values.unique
        row["top"] = values.top_values[0].value if values.top_values else None
    return row


_OF_SCHEMA = ("feature", "type", "required", "min_fraction", "domain", "min", "max", "shape")


def _schema(result: Result) -> Iterator[dict[str, Any]]:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(result.read("schema.pbtxt").decode(), schema_pb2.Schema())
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    yield from (row for feature in schema.feature for row in _features(feature, domains, ()))


def _features(feature: Any, domains: dict[str, list[str]], above: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    from tensorflow_metadata.proto.v0 import schema_pb2

    path = (*above, feature.name)
    row: dict[str, Any] = {
        "feature": ".".join(path),
        "type": schema_pb2.FeatureType.Name(feature.type),
        "required": feature.presence.min_fraction == 1.0,
        "min_fraction": feature.presence.min_fraction or None,
    }
    if feature.HasField("domain"):
        row["domain"] = domains.get(feature.domain)
    elif feature.HasField("string_domain"):
        row["domain"] = list(feature.string_domain.value)
    for name in ("int_domain", "float_domain"):
        if feature.HasField(name):
            limits = getattr(feature, name)
            row.update({side: getattr(limits, side) for side in ("min", "max") if limits.HasField(side)})
    if feature.HasField("shape"):
        row["shape"] = [part.size for part in feature.shape.dim]
    yield row
    for child in feature.struct_domain.feature:
        yield from _features(child, domains, path)


_OF_ANOMALIES = ("severity", "split", "feature", "check", "kind", "message", "action", "effect", "threshold")

_TABLES: dict[str, tuple[tuple[str, ...], Callable[[Result], Any]]] = {
    "statistics": (_OF_STATISTICS, _statistics),
    "schema": (_OF_SCHEMA, _schema),
    "anomalies": (_OF_ANOMALIES, lambda result: result.body["findings"]),
}
