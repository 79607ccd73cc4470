"""The runner: `--runner=pharos_beam.PharosRunner`."""
import json
import os
import shlex
import sys
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.pipeline import Pipeline
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners import runner
from apache_beam.runners.portability import portable_runner

from pharos_beam import client
from pharos_beam import loopback
from pharos_beam import progress
from pharos_beam.options import PharosOptions
from pharos_beam.result import PharosResult


class PharosRunner(portable_runner.PortableRunner):
    """Runs pipelines on Pharos.

    `run` returns as soon as the job has started. A job that needs this process, because its code
    runs here or the server belongs to it, keeps the process alive to the job's end; Ctrl-C
    cancels it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._interactive = False

    def is_interactive(self) -> None:
        """Called by Beam's InteractiveRunner.

        It shows pipelines itself, and reads what a batch pipeline has put out as soon as `run` returns.
        """
        self._interactive = True

    def default_environment(self, options: PipelineOptions) -> Any:
        _choose_environment(options)
        return super().default_environment(options)

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> PharosResult:
        _choose_environment(options)
        return super().run_pipeline(pipeline, options)

    def create_job_service(self, options: PipelineOptions) -> client.JobHandle:
        return client.JobHandle(client.connect(options), options)

    def run_portable_pipeline(
            self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> PharosResult:
        options.view_as(StandardOptions).runner = None  # means nothing to the server
        handle = self.create_job_service(options)
        closers = [handle.service.close]
        try:
            caught = None
            for environment in loopback.loopback_environments(pipeline):
                workers = loopback.Workers(options)
                closers.insert(0, workers.close)
                loopback.point_at(environment, workers)
                caught = workers.caught
            show = progress.choose(options.view_as(PharosOptions).pharos_progress, pipeline, self._interactive)
            optimized = self._optimize_pipeline(pipeline, options)
            job_id, _, _ = handle.submit(optimized)
        except BaseException:
            for close in closers:
                close()
            raise
        steps = {i: t.unique_name for i, t in optimized.components.transforms.items()}
        result = PharosResult(job_id, handle.service, caught, closers, show, steps)
        if self._interactive and not _unbounded(pipeline):
            result.wait_until_finish()
        return result


def _unbounded(pipeline: beam_runner_api_pb2.Pipeline) -> bool:
    unbounded = beam_runner_api_pb2.IsBounded.UNBOUNDED
    return any(p.is_bounded == unbounded for p in pipeline.components.pcollections.values())


def _choose_environment(options: PipelineOptions) -> None:
    """Fills in where the pipeline's code runs, where that is left open."""
    portable = options.view_as(PortableOptions)
    if portable.environment_type is not None:
        return
    if options.view_as(PharosOptions).pharos_workers:
        portable.environment_type = 'PROCESS'
        portable.environment_config = json.dumps(_own_interpreter())
    else:
        portable.environment_type = 'LOOPBACK'


def _own_interpreter() -> dict[str, Any]:
    """Describes workers as processes of this interpreter, with what it can import.

    The harness finds the runner in environment variables that Pharos sets.
    """
    command = f'{shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main'
    path = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    return {'command': command, 'env': {'PYTHONPATH': path}}


# Beam finds a runner by its short name only in a table of its own. Once this module has been
# imported, `--runner=PharosRunner` and `--runner=pharos` work as well.
runner._RUNNER_MAP.setdefault('pharosrunner', 'pharos_beam.PharosRunner')
