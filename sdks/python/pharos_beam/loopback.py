"""Workers in this process, for LOOPBACK environments."""
import logging
import threading
import traceback

import grpc
from apache_beam.options.pipeline_options import DebugOptions
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.worker import sdk_worker
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker import worker_pool_main
from apache_beam.utils import thread_pool_executor

from pharos_beam.failure import Caught
from pharos_beam.failure import tellable

_LOGGER = logging.getLogger(__name__)

_STOP_LIMIT_S = 1


class _Worker:
    """Does instructions as Beam's worker does, and keeps the exceptions that come out."""

    def __init__(self, worker: sdk_worker.SdkWorker, caught: Caught) -> None:
        self._worker = worker
        self._caught = caught

    def do_instruction(self, request: beam_fn_api_pb2.InstructionRequest) -> beam_fn_api_pb2.InstructionResponse:
        with tellable():
            try:
                return self._worker.do_instruction(request)
            except BaseException as e:
                self._caught.add(e)
                raise


class _Harness(sdk_worker.SdkHarness):
    """Beam's harness with workers that keep exceptions."""
    caught: Caught

    def create_worker(self) -> _Worker:
        return _Worker(super().create_worker(), self.caught)


class _Pool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
    """Beam's pool of workers in threads, with our harness."""
    caught: Caught

    def StartWorker(self, start_worker_request, unused_context):  # pylint: disable=invalid-name
        if self._use_process:
            return super().StartWorker(start_worker_request, unused_context)
        try:
            harness = _Harness(
                start_worker_request.control_endpoint.url,
                worker_id=start_worker_request.worker_id,
                state_cache_size=self._state_cache_size,
                data_buffer_time_limit_ms=self._data_buffer_time_limit_ms)
            harness.caught = self.caught
            if hasattr(self, '_worker_threads'):  # where StopWorker looks, from Beam 2.66 on
                self._worker_threads[start_worker_request.worker_id] = harness
            name = f'run_worker_{start_worker_request.worker_id}'
            threading.Thread(name=name, target=_run, args=(harness, ), daemon=True).start()
            return beam_fn_api_pb2.StartWorkerResponse()
        except Exception:  # pylint: disable=broad-except
            return beam_fn_api_pb2.StartWorkerResponse(error=traceback.format_exc())


def _run(harness: _Harness) -> None:
    """Runs a harness until the runner has no more for it, or is gone, which the job's result tells."""
    try:
        harness.run()
    except grpc.RpcError as e:
        _LOGGER.debug('the runner is gone: %s', e)


class Workers:
    """A service that starts workers in this process."""

    def __init__(self, options: PipelineOptions) -> None:
        self.caught = Caught()
        debug = options.view_as(DebugOptions)
        pool = _Pool(
            use_process=debug.lookup_experiment('use_loopback_process_worker', False),
            state_cache_size=sdk_worker_main._get_state_cache_size_bytes(options=options),
            data_buffer_time_limit_ms=sdk_worker_main._get_data_buffer_time_limit_ms(debug.experiments or []))
        pool.caught = self.caught
        self._pool = pool
        self._server = grpc.server(
            thread_pool_executor.shared_unbounded_instance(),
            options=[('grpc.http2.max_pings_without_data', 0), ('grpc.http2.max_ping_strikes', 0)])
        # Not localhost, which is often two addresses: gRPC takes a port that is free on one of them, and is content
        # when the other has that of another program, which the runner might reach then.
        self.endpoint = f'127.0.0.1:{self._server.add_insecure_port("127.0.0.1:0")}'
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, self._server)
        self._server.start()

    def close(self) -> None:
        for process in list(self._pool._worker_processes.values()):
            worker_pool_main.kill_process_gracefully(process)
        self._server.stop(_STOP_LIMIT_S)


def loopback_environments(pipeline: beam_runner_api_pb2.Pipeline) -> list[beam_runner_api_pb2.Environment]:
    """Returns the environments that ask for workers in the program that submits the pipeline."""
    return [
        e for e in pipeline.components.environments.values() if e.urn == python_urns.EMBEDDED_PYTHON_LOOPBACK
    ]


def point_at(environment: beam_runner_api_pb2.Environment, workers: Workers) -> None:
    """Makes an environment that asks `workers` for its workers."""
    environment.urn = common_urns.environments.EXTERNAL.urn
    environment.payload = beam_runner_api_pb2.ExternalPayload(
        endpoint=endpoints_pb2.ApiServiceDescriptor(url=workers.endpoint)).SerializeToString()
