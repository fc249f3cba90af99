"""generate-statistics as a KFP component."""

# KFP takes a component's outputs from a NamedTuple that is made within the annotation.
# mypy: disable-error-code="valid-type"

from typing import Dict, NamedTuple

from kfp import dsl

from headwater.components.common.version import CORE_IMAGE


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def generate_statistics(
    dataset: dsl.Input[dsl.Dataset],
    statistics: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    dataset_uri: str = "",
    project: Dict = {},
) -> NamedTuple("Outputs", uri=str):
    """Computes TFDV's statistics of each split, with a mergeable state beside them, and a page.

    Args:
        dataset: A dataset of collect's, or a plain Parquet or CSV file or folder.
        statistics: `Split-<name>/FeatureStats.pb` and `Split-<name>/State.arrow`. Its metadata: `kind`
            (headwater.statistics), `uri`, `verdict` (how much was measured).
        page: The statistics to look at.
        dataset_uri: The dataset's exact URI, where the task may be cached: Kubeflow's cache compares parameters, and of
            artifacts only names. Another dataset than this one is refused.
        project: The settings of a pipeline, as in `headwater.yaml`; statistics and platform are read.

    Returns:
        uri: The statistics' exact URI.
    """
    from headwater.components.common.artifacts import check_uri, publish
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.fanout import adopted
    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.generate_statistics.settings import from_project

    with clear_errors(), adopted("generate-statistics", project, dataset.path):
        check_uri(dataset.path, dataset_uri)
        result = compute_statistics(dataset.path, statistics.path, **from_project(project))
        uri = publish(result, statistics, page)
    return (uri,)
