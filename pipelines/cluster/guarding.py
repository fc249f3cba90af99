"""What follows the verdict of a guarded pipeline: the trainer, or those who look into what is not blessed."""

# kfp reads the annotations of a pipeline's function as they are, so they are no text here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.platform import Platform
from headwater.components.generate_statistics.component import generate_statistics
from headwater.components.label.component import label
from headwater.components.validate.component import gate
from headwater.pipelines.cluster.tasks import configure
from headwater.pipelines.main import Line


def after_verdict(trainer: Any, settings: Platform) -> Any:
    """The branches, as a pipeline of their own.

    Args:
      trainer: kfp's component.
      settings: the project's section platform.

    Raises:
      HeadwaterError: the trainer needs what is not here.
    """

    # A pipeline of its own, since kfp's local runner takes conditions on a pipeline's parameters alone.
    @dsl.pipeline(name="after-the-verdict")
    def after(
        blessed: bool,
        quarantined: int,
        project: dict,
        dataset: dsl.Input[dsl.Dataset],
        dataset_uri: str,
        passed: dsl.Input[dsl.Dataset],
        quarantine: dsl.Input[dsl.Dataset],
        statistics: dsl.Input[dsl.Artifact],
        statistics_uri: str,
        schema: dsl.Input[dsl.Artifact],
        schema_uri: str,
        anomalies: dsl.Input[dsl.Artifact],
        anomalies_uri: str,
    ):
        with dsl.If(blessed == True, name="blessed"):  # noqa: E712  kfp makes a condition of it
            known = {
                "dataset": (dataset, dataset_uri),
                "dataset_uri": (None, dataset_uri),
                "passed": (passed, None),
                "statistics": (statistics, statistics_uri),
                "schema": (schema, schema_uri),
                "anomalies": (anomalies, anomalies_uri),
                "project": (None, project),
            }
            train = trainer(**_inputs(trainer, known)).set_caching_options(False)
            configure(train, "trainer", settings, own_image=True)
        with dsl.If(blessed == False, name="not blessed"):  # noqa: E712
            with dsl.If(quarantined > 0, name="quarantined"):
                measured = generate_statistics(dataset=quarantine, project=project).set_caching_options(False)
                configure(measured.set_display_name("quarantine-report"), "generate-statistics", settings)
                relabelled = label(dataset=quarantine, project=project).set_caching_options(False)
                configure(relabelled.set_display_name("relabel"), "label", settings)
            configure(gate(anomalies=anomalies, project=project).set_caching_options(False), "gate", settings)

    return after


def connect(after: Any, line: Line, project: Any) -> None:
    """Adds the branches to the pipeline that is being built.

    Args:
      after: made by `after_verdict`.
      line: the tasks up to the verdict.
      project: the pipeline's parameter.
    """
    outputs = line.validate.outputs
    after(
        blessed=outputs["blessed"],
        quarantined=outputs["quarantined"],
        project=project,
        dataset=line.label.outputs["labels"],
        dataset_uri=line.label.outputs["uri"],
        passed=outputs["passed"],
        quarantine=outputs["quarantine"],
        statistics=line.generate_statistics.outputs["statistics"],
        statistics_uri=line.generate_statistics.outputs["uri"],
        schema=line.infer_schema.outputs["schema"],
        schema_uri=line.infer_schema.outputs["uri"],
        anomalies=outputs["anomalies"],
        anomalies_uri=outputs["uri"],
    ).set_caching_options(False)


def _inputs(trainer: Any, known: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """What a trainer gets, by the names of its inputs: of each an artifact or a parameter, as it asks for."""
    inputs = {}
    for name, asked in (trainer.component_spec.inputs or {}).items():
        artifact, parameter = known.get(name, (None, None))
        # kfp writes artifacts' types with their version.
        value = artifact if "@" in str(asked.type) else parameter
        if value is not None:
            inputs[name] = value
        elif not asked.optional:
            raise HeadwaterError(
                f"platform.trainer: {trainer.name} needs the input {name!r}, which this pipeline does not have; it has "
                f"{', '.join(known)}, and other inputs need a default"
            )
    return inputs
