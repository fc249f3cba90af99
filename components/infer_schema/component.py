"""infer-schema as a KFP component."""

# KFP takes a component's outputs from a NamedTuple that is made within the annotation.
# mypy: disable-error-code="valid-type"

from typing import Dict, NamedTuple

from kfp import dsl

from headwater.components.common.version import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def infer_schema(
    statistics: dsl.Input[dsl.Artifact],
    schema: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    mode: str = "auto",
    base_schema: str = "auto",
    curation: Dict = {},
    max_string_domain_size: int = 100,
    infer: str = "headwater",
) -> NamedTuple("Outputs", uri=str):
    """Infers a schema from the first split, or keeps the one that was agreed.

    Args:
        statistics: generate-statistics' output.
        schema: `schema.pbtxt`; in mode `propose` also `candidate.pbtxt`, `diff.json` and `suggestions.json`. Its
            metadata key `kind` is `headwater.schema`.
        page: The schema, and in mode `propose` what would change and why.
        mode: `infer` (there is no base), `frozen` (the base with its curation, never widened), `propose` (frozen, and
            the widened schema beside it for review), `auto` (frozen where there is a base, else infer).
        base_schema: The agreed schema: a URI, `latest`, `previous`, `span:<n>`, `none`, or `auto` (the previous
            span's, if there is one).
        curation: Changes by feature, as in {"features": {"carrier": {"drift_threshold": 0.05}}}.
        max_string_domain_size: An inferred text column with more distinct values has no closed domain.
        infer: How a schema is inferred: `headwater`, TFDV's with the domains that the data closes, or `tfdv`, exactly
            TFDV's.

    Returns:
        uri: The schema's exact URI.
    """
    from headwater.components.common.errors import clear_errors
    from headwater.components.common.results import copy_page
    from headwater.components.infer_schema import derive_schema

    with clear_errors():
        result = derive_schema(
            statistics.path,
            schema.path,
            mode=mode,
            base_schema=base_schema,
            curation=curation,
            max_string_domain_size=max_string_domain_size,
            infer=infer,
        )
        copy_page(result, page.path)
    uri = result.uri if result.home else schema.uri
    schema.metadata.update(kind="headwater.schema", uri=uri, mode=result.body["mode"])
    return (uri,)
