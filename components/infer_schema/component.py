"""infer-schema as a KFP component."""

# KFP takes a component's outputs from a NamedTuple that is made within the annotation.
# mypy: disable-error-code="valid-type"

from typing import Dict, NamedTuple

from kfp import dsl

from headwater.components.common.version import TFDV_IMAGE


@dsl.component(base_image=TFDV_IMAGE, install_kfp_package=False)
def infer_schema(
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    project: Dict = {},
) -> NamedTuple("Outputs", uri=str):
    """Infers a schema from the first split, or keeps the one that was agreed.

    Args:
        statistics: generate-statistics' output.
        schema: `schema.pbtxt`; in mode `propose` also `candidate.pbtxt`, `diff.json` and `suggestions.json`. Its
            metadata: `kind` (headwater.schema), `uri`, `verdict` (inferred or agreed), `mode`.
        page: The schema, and in mode `propose` what would change and why.
        project: The settings of a pipeline, as in `headwater.yaml`; schema is read.

    Returns:
        uri: The schema's exact URI.
    """
    from headwater.components.common.artifacts import publish
    from headwater.components.common.errors import clear_errors
    from headwater.components.infer_schema import derive_schema
    from headwater.components.infer_schema.curation import from_project

    with clear_errors():
        result = derive_schema(statistics.path, schema.path, **from_project(project))
        uri = publish(result, schema, page)
    schema.metadata.update(mode=result.body["mode"])
    return (uri,)
