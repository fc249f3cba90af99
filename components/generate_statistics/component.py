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
    project: Dict = {},
) -> NamedTuple("Outputs", uri=str):
    """Computes TFDV's statistics of each split, with a mergeable state beside them, and a page.

    Args:
        dataset: A dataset of collect's, or a plain Parquet or CSV file or folder.
        statistics: `Split-<name>/FeatureStats.pb` and `Split-<name>/State.arrow`; its metadata key `kind` is
            `headwater.statistics`.
        page: The statistics to look at.
        project: The settings of a pipeline, as in `headwater.yaml`; statistics and platform are read.

    Returns:
        uri: The statistics' exact URI.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.results import copy_page
    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.generate_statistics.settings import from_project

    with clear_errors():
        result = compute_statistics(dataset.path, statistics.path, **from_project(project))
        copy_page(result, page.path)
    uri = result.uri if result.home else statistics.uri
    statistics.metadata.update(kind="headwater.statistics", uri=uri)
    return (uri,)
