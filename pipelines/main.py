"""The main pipeline: collect → label → generate-statistics → infer-schema → validate → gate, a straight line."""

from typing import Dict

from kfp import dsl

from headwater.components.collect.component import collect
from headwater.components.generate_statistics.component import generate_statistics
from headwater.components.infer_schema.component import infer_schema
from headwater.components.label.component import label
from headwater.components.validate.component import gate, validate


@dsl.pipeline(name="headwater", description="Bad data is stopped before it trains a model.")
def headwater_pipeline(project: Dict = {}):
    """Collects one span of a dataset, measures it, and lets it pass or stops it.

    Args:
        project: All settings, with the sections of `headwater.yaml`: name, sources, collect, label, statistics, schema,
            validate, alerts and platform. `platform.data_root` is how this run finds the earlier ones.
    """
    collected = collect(project=project)
    labelled = label(dataset=collected.outputs["dataset"], project=project)
    measured = generate_statistics(dataset=labelled.outputs["labels"], project=project)
    described = infer_schema(statistics=measured.outputs["statistics"], project=project)
    validated = validate(
        statistics=measured.outputs["statistics"],
        schema=described.outputs["schema"],
        dataset=labelled.outputs["uri"],
        project=project,
    )
    gate(anomalies=validated.outputs["anomalies"], project=project)
    # These read what changes between runs with the same parameters: files, and `auto` references.
    for task in (collected, labelled, described, validated):
        task.set_caching_options(False)
