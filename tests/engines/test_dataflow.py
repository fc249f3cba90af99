"""The graph as Dataflow would get it: Beam's own Dataflow runner makes the job, and nothing is sent."""

import socket

import cloudpickle
import pytest
from jobs import double, join

from headwater.components.common import beam_graph
from headwater.components.common.scheduling import Job

OPTIONS = [
    "--runner=DataflowRunner",
    "--project=lake-1234",
    "--region=europe-west1",
    "--temp_location=gs://lake/tmp",
    "--staging_location=gs://lake/staging",
    "--sdk_container_image=registry.example.com/ml/headwater-core:0.2.0",
    "--no_use_public_ips",
    "--max_num_workers=8",
]


@pytest.fixture(scope="module")
def job():
    """The job of a graph of 40 elements."""
    from apache_beam.runners.dataflow import dataflow_runner

    made = []
    original = dataflow_runner.DataflowRunner.run_pipeline

    def kept(self, pipeline, options):
        result = original(self, pipeline, options)
        made.append(result.job)
        return result

    def refused(*_):
        raise AssertionError("a connection was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataflow_runner.DataflowRunner, "run_pipeline", kept)
        patch.setattr(socket.socket, "connect", refused)
        options = beam_graph.pipeline_options([*OPTIONS, "--dry_run=True"])
        job = Job("t", list(range(40)), [1] * 40, double, join, 0)
        beam_graph.run(options, job, "gs://lake/root/_scratch/_result", None)
    return made[0]


def test_the_work_is_spread_by_one_reshuffle_before_it(job):
    transforms = job.proto_pipeline.components.transforms
    reshuffles = [each.unique_name for each in transforms.values() if each.spec.urn == "beam:transform:reshuffle:v1"]
    assert len(reshuffles) == 1 and "Elements" in reshuffles[0]
    # Two levels of merging for 40 elements, a shuffle each.
    grouped = [each for each in transforms.values() if each.spec.urn == "beam:transform:group_by_key:v1"]
    assert sum("Shuffle" in each.unique_name for each in grouped) == 2


def test_workers_run_the_image_and_get_no_file_of_the_drivers(job):
    environments = job.proto_pipeline.components.environments.values()
    images = {each.payload.decode(errors="replace") for each in environments}
    assert all("registry.example.com/ml/headwater-core:0.2.0" in image for image in images)
    staged = [dependency for each in environments for dependency in each.dependencies]
    # A list of what is installed here, for Dataflow's own records, is the most that Beam would upload.
    assert all(b"submission_environment_dependencies" in each.role_payload for each in staged)


def test_what_passes_between_workers_lies_where_they_reach_it(job):
    from apache_beam.internal import pickler
    from apache_beam.portability.api import beam_runner_api_pb2

    steps = []
    for each in job.proto_pipeline.components.transforms.values():
        if each.spec.urn == "beam:transform:pardo:v1" and each.unique_name.startswith("t/"):
            payload = beam_runner_api_pb2.ParDoPayload.FromString(each.spec.payload)
            # As a worker gets it, and then without the compression that it travels with.
            steps.append(cloudpickle.dumps(pickler.loads(payload.do_fn.payload)))
    assert any(b"gs://lake/root/_scratch/_result" in step for step in steps)
    assert not [step for step in steps if b"/tmp/" in step]
