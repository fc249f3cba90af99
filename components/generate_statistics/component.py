"""generate-statistics as a KFP component."""

# KFP takes a component's outputs from a NamedTuple that is made within the annotation.
# mypy: disable-error-code="valid-type"

from typing import Dict, List, NamedTuple

from kfp import dsl

from headwater.components.common.version import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def generate_statistics(
    dataset: dsl.Input[dsl.Dataset],
    statistics: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    config: Dict = {},
    beam_pipeline_args: List[str] = [],
    workers: int = 0,
) -> NamedTuple("Outputs", uri=str):
    """Computes TFDV's statistics of each split, with a mergeable state beside them, and a page.

    Args:
        dataset: A dataset of collect's, or a plain Parquet or CSV file or folder.
        statistics: `Split-<name>/FeatureStats.pb` and `Split-<name>/State.arrow`; its metadata key `kind` is
            `headwater.statistics`.
        page: The statistics to look at.
        config: Settings by name, as the README lists them: features, weights, labels, slices, sampling, limits, pairs,
            meaning, users' own statistics, worst slices, privacy.
        beam_pipeline_args: Beam's options.
        workers: Processes per Beam worker; 0 for one per core.

    Returns:
        uri: The statistics' exact URI.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.results import copy_page
    from headwater.components.generate_statistics import compute_statistics

    with clear_errors():
        result = compute_statistics(
            dataset.path, statistics.path, config=config, beam_pipeline_args=beam_pipeline_args, workers=workers
        )
        copy_page(result, page.path)
    uri = result.uri if result.home else statistics.uri
    statistics.metadata.update(kind="headwater.statistics", uri=uri)
    return (uri,)
