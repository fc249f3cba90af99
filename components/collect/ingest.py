"""collect: from users' sources to a dataset, with every record accounted for."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.collect import spans
from headwater.components.collect.privacy import actions, anonymity
from headwater.components.collect.report import report
from headwater.components.collect.settings import AUTO, Settings, check_settings
from headwater.components.collect.shape import duplicates, lookups, shaping
from headwater.components.collect.shape.one_table import check_one_table
from headwater.components.collect.write import profile, repeated_keys
from headwater.components.collect.write.shards import Outcome, Plan, together, write_range
from headwater.components.common import fanout, overview, pages, results, sources, storage, timings
from headwater.components.common.acknowledging import Acknowledged, check_entries
from headwater.components.common.beam import check_options, map_merge, scratch_folder
from headwater.components.common.dataset import ROW_ID
from headwater.components.common.dataset_index import encode_schema, write_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.pool import warm_up
from headwater.components.common.results import Home, Result
from headwater.components.common.tables_in_memory import Tabular, as_uris

_FIRST_SPAN = 1
# pyarrow imports pandas when it first makes an array: once for all workers, not once in each.
_PRELOAD = ("headwater.components.collect.write.shards", "pandas")


def collect_dataset(
    source: Tabular | Sequence[Tabular] = (),
    output: str = "",
    *,
    databases: Sequence[Mapping[str, Any]] = (),
    data_root: str = "",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
    acknowledged: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> Result:
    """Collects files and tables into a dataset.

    Args:
      source: path, folder, glob or URI, or a table of pandas, polars or Arrow, or several of these; `{SPAN}`,
        `{YYYY}-{MM}-{DD}` and `{VERSION}` in a path tell spans.
      output: folder for the dataset; with `data_root`, only its small files (`_…`) go there.
      databases: queries and tables, as `databases.parse_source` takes them.
      data_root: durable home of all datasets; its shards are written there.
      beam_pipeline_args: Beam's options, as TFX names them.
      workers: processes per Beam worker; 0 means one per core.
      acknowledged: findings that are known, as validate's setting `acknowledged` names them, whatever their date: they are
        notes, and shape nothing else.
      **settings: the fields of `settings.Settings`.

    Returns:
      The dataset. When more records are rejected than allowed, its body has `accepted` False and says why.

    Raises:
      HeadwaterError: a setting is wrong, the input cannot be read, or it has no rows.
    """
    checked = check_settings(**settings)
    known = check_entries(acknowledged)
    if databases:
        from headwater.components.collect.databases import parse_source

        for database in databases:
            parse_source(database)
    actions.read_secret(actions.parse_actions(checked.private))
    check_options(beam_pipeline_args)
    output = storage.normalise(output)
    data_root = storage.normalise(data_root) if data_root else ""
    beam: dict[str, Any] = {
        "beam_pipeline_args": beam_pipeline_args,
        "workers": workers,
        "scratch": storage.join(data_root, "_scratch") if data_root else "",
        "preload": _PRELOAD,
    }
    chosen = _choose_spans(as_uris(source), checked)
    with scratch_folder(beam_pipeline_args, beam["scratch"]) as folder:
        return _Collection(checked, chosen, output, data_root, folder, beam).run(databases, known)


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """The sources of one collection.

    Attributes:
      uris: what to read.
      spans: those that are read.
      available: the version of every span that there is.
      number: the span's number.
      end: when it ends.
      coordinates: keys of folders that tell spans, and are no columns.
      roots: by URI, the folder that the pattern of spans looks below.
    """

    uris: list[str]
    spans: list[spans.SpanFiles]
    available: dict[int, int]
    number: int
    end: datetime.datetime | None
    coordinates: frozenset[str] = frozenset()
    roots: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _choose_spans(given: Sequence[str], settings: Settings) -> _Chosen:
    patterns = [uri for uri in given if spans.has_span(uri)]
    if not patterns:
        if settings.window > 1:
            raise HeadwaterError(
                "window: the paths of the sources contain no spans; write them with {SPAN} or {YYYY}-{MM}-{DD}"
            )
        return _Chosen(list(given), [], {}, settings.span, None)
    chosen_spans, available = spans.choose(patterns, settings.span, settings.window)
    plain = [uri for uri in given if not spans.has_span(uri)]
    number = chosen_spans[-1].span
    uris = plain + [uri for part in chosen_spans for uri in part.uris]
    keys = frozenset(key for pattern in patterns for key in spans.coordinates(pattern))
    roots = {uri: spans.root_of(patterns, uri) for part in chosen_spans for uri in part.uris}
    return _Chosen(uris, chosen_spans, available, number, spans.span_end(patterns[0], number), keys, roots)


class _Collection:
    """One collection on its way: each step uses what the step before found."""

    def __init__(
        self, settings: Settings, chosen: _Chosen, output: str, data_root: str, folder: str, beam: Mapping[str, Any]
    ):
        self._settings, self._chosen, self._output = settings, chosen, output
        self._data_root, self._folder, self._beam = data_root, folder, beam
        self._reading = settings.reading

    def run(self, databases: Sequence[Mapping[str, Any]], known: Sequence[Acknowledged]) -> Result:
        settings = self._settings
        files = self._export(databases)
        if self._chosen.uris or not files:
            chosen = self._chosen
            files = sources.discover(chosen.uris, chosen.coordinates, chosen.roots) + files
        if sources.need_a_pool(files):
            warm_up(_PRELOAD, self._beam["workers"])
            # pyarrow imports pandas when it first makes an array: while the server starts, and not while workers wait.
            pa.array([0])
        scans = sources.scan_files(files, self._folder, self._reading, **self._beam)
        staged = {
            name: lookups.stage_lookup(name, lookup, self._folder, **self._beam)
            for name, lookup in settings.lookups.items()
        }
        shaping_of = self._what_shapes()
        inputs = {f"lookups.{name}": fingerprint for name, (_, fingerprint) in staged.items()}
        inputs["sources"] = sources.fingerprint([scan.file for scan in scans])
        identity = results.fingerprint("dataset", inputs, shaping_of)
        home = self._settle(identity) if self._data_root else None
        base = home.folder("dataset") if home else self._output
        if home and storage.exists(storage.join(base, results.MANIFEST)):
            print(f"collect: this content was collected before: {base}", flush=True)
            return results.bring(results.load(base, "dataset"), self._output)
        attempt = fanout.attempt_id() if home else ""
        places = tuple((name, place) for name, (place, _) in staged.items())
        try:
            plan, opened, outcome, measured = self._write(scans, places, base, attempt)
            span = home.span if home else _FIRST_SPAN if self._chosen.number == AUTO else self._chosen.number
            body = _body(settings, opened, plan, outcome, span)
            body["repeated_keys"] = repeated_keys.describe(outcome.keys, opened.elements, plan.key_rate)
            body["lineage"]["spans"] = [[files.span, files.version] for files in self._chosen.spans]
            body["lineage"]["end"] = self._chosen.end.isoformat() if self._chosen.end else None
            _write_indexes(body, outcome.records, plan)
            with timings.span("report"):
                page = report.add_report(
                    body,
                    outcome,
                    plan.schema,
                    settings,
                    notices=opened.notices,
                    home=home,
                    as_of=self._as_of(),
                    anonymity=measured,
                    fingerprint=identity,
                    available=self._chosen.available,
                    known=known,
                )
            content = _finish(body, plan, home, identity, shaping_of, page)
        except BaseException:
            _remove_attempt(base, attempt)
            raise
        if not home:
            storage.write_bytes(storage.join(base, results.MANIFEST), content)
            return results.load(base, "dataset")
        # Before the commit, so that what is committed is complete; another attempt's page says the same.
        storage.write_bytes(home.report("dataset"), page.encode())
        if not results.commit(home, "dataset", content):
            _remove_attempt(base, attempt)
        overview.start_overview(home, body["refusal"])
        return results.bring(results.load(base, "dataset"), self._output)

    def _export(self, given: Sequence[Mapping[str, Any]]) -> list[sources.SourceFile]:
        if not given:
            return []
        from headwater.components.collect.databases import export_databases

        return export_databases(given, self._folder, **self._beam)

    def _what_shapes(self) -> dict[str, Any]:
        """The settings that the dataset's content is a function of."""
        settings = self._settings
        # Whether files are refused shapes nothing of what is written.
        unset = {"union", *(["span"] if settings.span == AUTO else [])}
        described = settings.model_dump(mode="json", by_alias=True, exclude=unset | {"lookups"})
        described["types"] = dict(sorted(described["types"].items()))
        # Where a lookup lies does not shape anything; what it holds is an input.
        described["lookups"] = {
            name: lookup.model_dump(mode="json", exclude={"source"}) for name, lookup in settings.lookups.items()
        }
        secret = actions.read_secret(actions.parse_actions(settings.private))
        if secret:
            described["private_key"] = actions.key_fingerprint(secret)
        return described

    def _settle(self, identity: str) -> Home:
        """The span and version that this content belongs to, claimed for it."""
        settled = fanout.once("home", lambda: dataclasses.asdict(self._claim(identity)))
        return Home(**settled)

    def _claim(self, identity: str) -> Home:
        home = Home(self._data_root, self._settings.name, self._chosen.number, 1)
        if home.span != AUTO:
            return results.claim(home, "dataset", identity)
        known = results.made_of(home.data_root, home.name, identity)
        if known:
            return known
        latest = next(results.committed(home.data_root, home.name, "dataset"), None)
        home = dataclasses.replace(home, span=latest.span + 1 if latest else _FIRST_SPAN)
        while not results.claim_exactly(home, "dataset", identity):
            home = dataclasses.replace(home, span=home.span + 1)
        return home

    def _write(
        self, scans: Sequence[Any], places: tuple[tuple[str, str], ...], base: str, attempt: str
    ) -> tuple[Plan, sources.Sources, Outcome, dict[str, Any] | None]:
        """Writes the shards by what the files' beginnings tell; by all that they hold where that does not fit."""
        settings = self._settings
        for exact in (False, True):
            types = {**settings.types, **{name: "string" for name in settings.formats}}
            opened = sources.open_sources(scans, types=types, exact=exact, **self._beam)
            if not settings.union:
                check_one_table(opened.columns)
            shape = shaping.Shape(settings, opened.schema, opened.guessed, places)
            schema = shaping.check_shape(shape)
            shaping.check_splits(settings, schema)
            try:
                shape, measured = self._look_ahead(shape, opened, exact)
            except sources.Misfit:
                continue
            rows = sum(element.rows for element in opened.elements)
            rate = min(1.0, profile.SAMPLE_ROWS / max(rows, 1)) if settings.analyse else 0.0
            key_rate = repeated_keys.rate(settings, rows)
            pages.prepare("headwater.components.collect", "page.html")
            # The second time under other names: a task that does a part again must not remove what others wrote since.
            own = f"{attempt}x" if attempt and exact else attempt
            plan = Plan(base, own, shape, schema, rate, key_rate)
            runs = together(opened, len(schema))
            content = map_merge(
                "collect: write",
                runs,
                functools.partial(write_range, plan),
                Outcome.merge,
                sizes=[sum(each.element.rows for each in run.item) for run in runs],
                **self._beam,
            )
            outcome = Outcome.decode(content)
            if not any(record.get("misfit") for record in outcome.records):
                return plan, opened, outcome, measured
            _remove_shards(base, outcome.records)
        raise AssertionError("types inferred from all data did not fit")

    def _look_ahead(
        self, shape: shaping.Shape, opened: sources.Sources, exact: bool
    ) -> tuple[shaping.Shape, dict[str, Any] | None]:
        """Reads the keys, and the groups, where rows must be dropped for what other rows hold."""
        settings = shape.settings
        if settings.duplicates == "drop":
            folder = storage.join(self._folder, "exact" if exact else "guessed")
            drops = duplicates.find_duplicates(
                opened.elements, functools.partial(shaping.read_keys, shape), folder, **self._beam
            )
            shape = dataclasses.replace(shape, drops=drops)
        if not settings.anonymity:
            return shape, None
        state = map_merge(
            "collect: groups",
            list(enumerate(opened.elements)),
            functools.partial(shaping.group_state, shape),
            shaping.merge_groups,
            sizes=[element.rows for element in opened.elements],
            **self._beam,
        )
        if state == shaping.MISFIT:
            raise sources.Misfit
        if settings.anonymity.suppress:
            shape = dataclasses.replace(shape, small_groups=anonymity.small_groups(state, settings.anonymity.k))
        return shape, anonymity.measure(state, settings.anonymity.k)

    def _as_of(self) -> datetime.datetime:
        if self._settings.as_of:
            moment = datetime.datetime.fromisoformat(self._settings.as_of.replace("Z", "+00:00"))
            return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return self._chosen.end or datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _body(settings: Settings, opened: sources.Sources, plan: Plan, outcome: Outcome, span: int) -> dict[str, Any]:
    records, counts = outcome.records, outcome.counts
    each_read = [rows for record in records for rows in record["read"]]
    read = sum(each_read)
    if not read:
        raise HeadwaterError(f"{', '.join(file.uri for file in opened.files)}: there are columns but no rows")
    rejected = counts["rejected"]
    written = sum(shard["rows"] for record in records for shard in record["shards"].values())
    filtered = counts["filtered"]
    if read != written + rejected + sum(filtered.values()):
        raise HeadwaterError(
            f"the counts of records do not add up: {read} read, {written} written, {rejected} rejected, {filtered} "
            "filtered"
        )
    reasons = counts["reasons"]
    share = rejected / read
    accepted = share <= settings.max_rejected_share and written > 0
    schema = plan.schema if settings.key else plan.schema.append(pa.field(ROW_ID, pa.binary(16)))
    refusal = (
        f"{rejected:,} of {read:,} records ({percent(share)}) were rejected, more than max_rejected_share "
        f"{percent(settings.max_rejected_share)} allows: "
        + ", ".join(f"{count:,} × {reason}" for reason, count in sorted(reasons.items()))
    )
    if not written and share <= settings.max_rejected_share:
        lost = {f"rejected ({reason})": count for reason, count in sorted(reasons.items())} | filtered
        refusal = f"none of the {read:,} rows is left: " + ", ".join(
            f"{count:,} × {rule}" for rule, count in lost.items()
        )
    return {
        "name": settings.name,
        "span": span,
        "key": settings.key or [ROW_ID],
        "schema": encode_schema(schema),
        "columns": {field.name: str(field.type) for field in schema},
        "accepted": accepted,
        "refusal": "" if accepted else refusal,
        "accounts": {"read": read, "written": written, "rejected": rejected, "filtered": filtered},
        "sentinels": counts["sentinels"],
        "lookups": {name: {"unmatched": count} for name, count in counts["unmatched"].items()},
        "rejected": {
            "reasons": dict(sorted(reasons.items())),
            "files": [record["file"] for record in records if "file" in record],
        },
        "lineage": {"sources": sources.lineage(opened, each_read)},
    }


def _write_indexes(body: dict[str, Any], records: Sequence[Mapping[str, Any]], plan: Plan) -> None:
    """Writes the shard indexes and adds the splits to the manifest's body."""
    body["splits"] = {}
    for split, _ in plan.splits:
        shards = [record["shards"][split] for record in records if split in record["shards"]]
        body["splits"][split] = write_index(plan.base, f"_shards-{split}{plan.suffix}.parquet", shards)


def _finish(
    body: dict[str, Any], plan: Plan, home: Home | None, identity: str, shaping_of: Mapping[str, Any], page: str
) -> bytes:
    """Writes the page; gives the manifest's bytes."""
    body["page"] = f"_page{plan.suffix}.html"
    storage.write_bytes(storage.join(plan.base, body["page"]), page.encode())
    return results.encode(
        {
            "format_version": results.FORMAT_VERSION,
            "kind": "dataset",
            "producer": results.PRODUCER,
            "fingerprint": identity,
            "home": dataclasses.asdict(home) if home else None,
            "settings": dict(shaping_of),
            "body": body,
        }
    )


def _remove_shards(base: str, records: Sequence[Mapping[str, Any]]) -> None:
    for record in records:
        for part in [*record.get("shards", {}).values(), *([record["file"]] if "file" in record else [])]:
            storage.delete(storage.join(base, part["path"]))


def _remove_attempt(base: str, attempt: str) -> None:
    # What other tasks wrote of the attempt stays for the next try.
    if attempt and not fanout.current():
        for file in storage.list_files(base):
            if f"-{attempt}" in os.path.basename(file.uri):
                storage.delete(file.uri)
        results.release(base)
