"""A pipeline of TFX over a span's results, for an environment with TFX: importers, ExampleValidator and Transform.

In sys.argv: the span's folder, a folder to work in. Prints what came of it as one line of JSON.
"""

import json
import pathlib
import shutil
import sys

import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.components.example_gen.custom_executors import parquet_executor
from tfx.dsl.components.base import executor_spec
from tfx.utils import io_utils


def preprocessing_fn(inputs):
    return {
        "amount": tft.scale_to_z_score(inputs["amount"]),
        "kind": tft.compute_and_apply_vocabulary(inputs["kind"], vocab_filename="kind"),
    }


def anomalies_in(folder, split):
    """By feature, the types of its anomalies in a file of TFX's name."""
    content = (folder / f"Split-{split}/SchemaDiff.pb").read_bytes()
    found = anomalies_pb2.Anomalies.FromString(content).anomaly_info
    return {key: [anomalies_pb2.AnomalyInfo.Type.Name(each.type) for each in found[key].reason] for key in found}


def imported(name, folder, kind, **properties):
    return tfx.dsl.Importer(source_uri=str(folder), artifact_type=kind, properties=properties).with_id(name)


def main(span, work):
    kinds = tfx.types.standard_artifacts
    splits = json.dumps(sorted(each.name[len("Split-") :] for each in (span / "statistics").glob("Split-*")))
    # TFX takes a schema to be the one file of its folder.
    alone = work / "schema"
    alone.mkdir(parents=True)
    shutil.copy(span / "schema/schema.pbtxt", alone)

    statistics = imported("statistics", span / "statistics", kinds.ExampleStatistics, split_names=splits)
    schema = imported("schema", alone, kinds.Schema)
    anomalies = imported("anomalies", span / "anomalies", kinds.ExampleAnomalies, split_names=splits)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["result"], schema=schema.outputs["result"]
    )
    patterns = [tfx.proto.Input.Split(name=name, pattern=f"split={name}/*.parquet") for name in json.loads(splits)]
    rows = FileBasedExampleGen(
        input_base=str(span / "data"),
        input_config=tfx.proto.Input(splits=patterns),
        custom_executor_spec=executor_spec.BeamExecutorSpec(parquet_executor.Executor),
    )
    transform = tfx.components.Transform(
        examples=rows.outputs["examples"],
        schema=schema.outputs["result"],
        preprocessing_fn="tfx_pipeline.preprocessing_fn",
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="orders",
            pipeline_root=str(work / "root"),
            components=[statistics, schema, anomalies, validator, rows, transform],
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                str(work / "metadata.sqlite")
            ),
        )
    )

    [found] = (work / "root/ExampleValidator/anomalies").iterdir()
    [graph] = (work / "root/Transform/transform_graph").iterdir()
    output = tft.TFTransformOutput(str(graph))
    told = {name: [anomalies_in(found, name), anomalies_in(span / "anomalies", name)] for name in json.loads(splits)}
    try:
        io_utils.get_only_uri_in_dir(str(span / "schema"))
    except RuntimeError as error:
        refused = str(error)
    print(
        "TOLD",
        json.dumps(
            {
                "anomalies": told,
                "vocabulary": sorted(each.decode() for each in output.vocabulary_by_name("kind")),
                "raw": sorted(output.raw_feature_spec()),
                "transformed": sorted(output.transformed_feature_spec()),
                "schema_with_more_files": refused,
            }
        ),
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
