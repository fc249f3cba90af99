"""The main pipeline: collect → label → generate-statistics → infer-schema → validate → gate, a straight line."""

from typing import Dict, List

from kfp import dsl

from headwater.components.collect.component import collect
from headwater.components.generate_statistics.component import generate_statistics
from headwater.components.infer_schema.component import infer_schema
from headwater.components.label.component import label
from headwater.components.validate.component import gate, validate


@dsl.pipeline(name="headwater", description="Bad data is stopped before it trains a model.")
def headwater_pipeline(
    sources: List[str] = [],
    data_root: str = "",
    name: str = "data",
    span: int = -1,
    splits: str = "train=0.8,eval=0.2",
    key: List[str] = [],
    types: Dict[str, str] = {},
    delimiter: str = "",
    max_rejected_share: float = 0.01,
    collect_config: Dict = {},
    label_steps: List = [],
    label_inputs: Dict = {},
    label_as_of: str = "",
    statistics_config: Dict = {},
    validate_config: Dict = {},
    base_schema: str = "auto",
    baseline: str = "auto",
    curation: Dict = {},
    fail_on: str = "error",
    beam_pipeline_args: List[str] = [],
    workers: int = 0,
):
    """Collects one span of a dataset, measures it, and lets it pass or stops it.

    Args:
        sources: Paths, folders, globs or URIs of CSV, TSV, JSONL, Parquet, Avro or TFRecord files.
        data_root: Durable home of all datasets: how this run finds the earlier ones.
        name: The dataset's name.
        span: The span's number; -1 for the next one.
        splits: Names and weights of the splits; the first one trains and gives the schema.
        key: Columns that identify a row; none to have `_row_id` made.
        types: Declared Arrow types by column; the others are inferred.
        delimiter: Field separator of a CSV; detected by default.
        max_rejected_share: The run stops when a larger share of the records is rejected.
        collect_config: Further settings of collect, as its README lists them.
        label_steps: Methods that label the rows, as label's README lists them; none to leave them as they are.
        label_inputs: URIs of further data for them, by name.
        label_as_of: Until when feedback is known, ISO 8601; by default the end of a span whose paths name dates.
        statistics_config: Settings of generate-statistics, as its README lists them.
        validate_config: Settings of validate, as its README lists them.
        base_schema: The agreed schema; `auto` for the previous span's, if there is one.
        baseline: Statistics to measure drift from; `auto` for the previous span's, if there is one.
        curation: Changes to the schema by feature.
        fail_on: The least severity of a finding that fails the run: error, warning or none.
        beam_pipeline_args: Beam's options.
        workers: Processes per Beam worker; 0 for one per core.
    """
    collected = collect(
        sources=sources,
        data_root=data_root,
        name=name,
        span=span,
        splits=splits,
        key=key,
        types=types,
        delimiter=delimiter,
        max_rejected_share=max_rejected_share,
        config=collect_config,
        beam_pipeline_args=beam_pipeline_args,
        workers=workers,
    )
    labelled = label(
        dataset=collected.outputs["dataset"],
        steps=label_steps,
        inputs=label_inputs,
        as_of=label_as_of,
        beam_pipeline_args=beam_pipeline_args,
        workers=workers,
    )
    measured = generate_statistics(
        dataset=labelled.outputs["labels"],
        config=statistics_config,
        beam_pipeline_args=beam_pipeline_args,
        workers=workers,
    )
    described = infer_schema(statistics=measured.outputs["statistics"], base_schema=base_schema, curation=curation)
    validated = validate(
        statistics=measured.outputs["statistics"],
        schema=described.outputs["schema"],
        dataset=labelled.outputs["uri"],
        baseline=baseline,
        config=validate_config,
        beam_pipeline_args=beam_pipeline_args,
        workers=workers,
    )
    gate(anomalies=validated.outputs["anomalies"], fail_on=fail_on)
    # These read what changes between runs with the same parameters: files, and `auto` references.
    for task in (collected, labelled, described, validated):
        task.set_caching_options(False)
