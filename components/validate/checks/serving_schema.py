"""Schema skew: serving data against the same schema."""

from __future__ import annotations

from typing import Annotated

import pydantic

from headwater.components.common.settings import PLACE
from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.findings import finding
from headwater.components.validate.judging import STRICT


class Serving(pydantic.BaseModel):
    """What serving data looked like.

    Attributes:
      statistics: URI of its statistics.
      environment: the schema environment that it is validated in; empty for none.
    """

    model_config = STRICT
    statistics: Annotated[str, pydantic.Field(min_length=1), PLACE]
    environment: str = ""


def run(context: Context) -> Outcome:
    serving = context.serving
    if serving is None:
        return Outcome(skipped="no serving data: set validate.serving")
    from headwater.components.validate import schema_checks

    if not serving.rows:
        message = "the serving data has no rows; nothing was validated"
        return Outcome(findings=[finding("serving", "", "EMPTY_SPLIT", "warning", message)])
    conformance = schema_checks.check(
        "serving",
        serving.statistics,
        context.contract,
        environment=serving.environment,
        inferred=context.inferred,
        hidden=context.hidden,
    )
    return Outcome(findings=[*conformance.breaches, *conformance.constraints])


CHECK = Check("serving_schema", "serving data against the schema", run, settings={"serving": (Serving | None, None)})
