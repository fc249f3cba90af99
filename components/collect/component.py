"""collect as a KFP component."""

# KFP reads the outputs from a NamedTuple that is made in the signature.
# mypy: disable-error-code="valid-type"

from typing import Dict, List, NamedTuple

from kfp import dsl

from headwater.components.common.version import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def collect(
    dataset: dsl.Output[dsl.Dataset],
    page: dsl.Output[dsl.HTML],
    sources: List[str] = [],
    name: str = "data",
    span: int = -1,
    splits: str = "train=0.8,eval=0.2",
    key: List[str] = [],
    types: Dict[str, str] = {},
    delimiter: str = "",
    max_rejected_share: float = 0.01,
    config: Dict = {},
    data_root: str = "",
    beam_pipeline_args: List[str] = [],
    workers: int = 0,
) -> NamedTuple("Outputs", uri=str, accepted=bool):
    """Collects files and tables into a typed, keyed, split dataset with every record accounted for.

    Args:
        dataset: The dataset; its metadata key `kind` is `headwater.dataset`.
        page: Findings, where every record went, and each column.
        sources: Paths, folders, globs or URIs of CSV, TSV, JSONL, Parquet, Avro or TFRecord files; `{SPAN}`,
            `{YYYY}-{MM}-{DD}` and `{VERSION}` in a path tell spans.
        name: The dataset's name under `data_root`.
        span: The span's number; -1 for the latest that paths tell, else for the next one, or the one where this very
            content was collected before.
        splits: Names and weights of the splits; the first one trains.
        key: Columns that identify a row; none to have `_row_id` made.
        types: Declared Arrow types by column; the others are inferred.
        delimiter: Field separator of a CSV; detected by default.
        max_rejected_share: The dataset is not accepted when a larger share of its records is rejected.
        config: Further settings by name, as the README lists them: databases, missing values, formats, units, lookups,
            derived columns, filters, splits by column or time, duplicates, privacy, health.
        data_root: Durable home of all datasets (local, gs:// or s3://); empty to keep everything in the artifact.
        beam_pipeline_args: Beam's options.
        workers: Processes per Beam worker; 0 for one per core.

    Returns:
        uri: The dataset's exact URI.
        accepted: Whether few enough records were rejected.
    """
    from headwater.components.collect import collect_dataset
    from headwater.components.collect.settings import parse_splits, with_config
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.results import copy_page

    with clear_errors():
        given = dict(name=name, span=span, splits=parse_splits(splits), key=key, types=types, delimiter=delimiter)
        result = collect_dataset(
            sources,
            dataset.path,
            data_root=data_root,
            beam_pipeline_args=beam_pipeline_args,
            workers=workers,
            **with_config({**given, "max_rejected_share": max_rejected_share}, config),
        )
        copy_page(result, page.path)
    uri = result.uri if result.home else dataset.uri
    counts = {name: result.body["accounts"][name] for name in ("read", "written", "rejected")}
    dataset.metadata.update(kind="headwater.dataset", uri=uri, **counts)
    return (uri, result.body["accepted"])
