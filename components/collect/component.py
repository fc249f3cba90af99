"""collect as a KFP component."""

# KFP reads the outputs from a NamedTuple that is made in the signature.
# mypy: disable-error-code="valid-type"

from typing import Dict, List, NamedTuple

from kfp import dsl

from headwater.components.common.version import CORE_IMAGE


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def collect(
    dataset: dsl.Output[dsl.Dataset],
    page: dsl.Output[dsl.HTML],
    sources: List[str] = [],
    project: Dict = {},
) -> NamedTuple("Outputs", uri=str, accepted=bool):
    """Collects files and tables into a typed, keyed, split dataset with every record accounted for.

    Args:
        dataset: The dataset. Its metadata: `kind` (headwater.dataset), `uri`, `verdict` (whether it was accepted), and
            counts of records.
        page: Findings, where every record went, and each column.
        sources: Paths, folders, globs or URIs of CSV, TSV, JSONL, Parquet, Avro or TFRecord files, in place of those of
            the project; `{SPAN}`, `{YYYY}-{MM}-{DD}` and `{VERSION}` in a path tell spans.
        project: The settings of a pipeline, as in `headwater.yaml`; name, sources, collect and platform are read.

    Returns:
        uri: The dataset's exact URI.
        accepted: Whether few enough records were rejected.
    """
    from headwater.components.collect import collect_dataset
    from headwater.components.collect.settings import from_project
    from headwater.components.common.artifacts import publish
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.fanout import adopted

    with clear_errors(), adopted("collect", project):
        result = collect_dataset(output=dataset.path, **from_project(project, sources))
        uri = publish(result, dataset, page)
    counts = {name: result.body["accounts"][name] for name in ("read", "written", "rejected")}
    dataset.metadata.update(counts)
    return (uri, result.body["accepted"])
