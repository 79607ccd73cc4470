"""The Jobs API as the runner uses it."""
import logging
import os
import re
import sys
from typing import Any
from typing import Optional

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.portability.api import beam_job_api_pb2_grpc
from apache_beam.runners.portability import portable_runner
from google.protobuf import struct_pb2

from pharos_beam import server
from pharos_beam import version
from pharos_beam.failure import PharosError
from pharos_beam.failure import RejectedError
from pharos_beam.options import SERVER_NAMES
from pharos_beam.options import PharosOptions

_LOGGER = logging.getLogger(__name__)

#: Headers of every answer of a Pharos server (internal/server/jobserver/announce.go).
VERSION_HEADER = 'pharos-version'
HTTP_HEADER = 'pharos-http'

_PATIENCE_S = 2  # before a warning
_ENDPOINT = re.compile(r'[^/\s]+:\d+')

_CHANNEL_OPTIONS = [
    ('grpc.max_receive_message_length', -1), ('grpc.max_send_message_length', -1),
    # Of the pauses between tries to connect, which otherwise grow to minutes: a server that starts is seen soon.
    ('grpc.max_reconnect_backoff_ms', 2000)
]


def explain(what: str, error: grpc.RpcError, endpoint: str) -> PharosError:
    """Makes an exception of one line for a call that went wrong."""
    code, details = error.code(), error.details()
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return RejectedError(details)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return PharosError(
            f'cannot {what}: no job service answers at {endpoint} (is `pharos serve` running there?)')
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return PharosError(
            f'cannot {what}: the server at {endpoint} does not do that (is it a job service?): {details}')
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return PharosError(f'cannot {what}: no answer from {endpoint} in time (--job_server_timeout)')
    return PharosError(f'cannot {what}: {details}')


class Service:
    """A connection to a server, checked to be one that this package fits.

    Attributes:
      http: URL of the server's pages and JSON views; None if it has none.
      own: whether the server is this program's, and so does not come back once it is gone.
    """

    def __init__(self, endpoint: str, own: bool, timeout_s: float) -> None:
        self.endpoint, self.own, self.timeout_s = endpoint, own, timeout_s
        self._channel = grpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS)
        self.stub = beam_job_api_pb2_grpc.JobServiceStub(self._channel)
        try:
            self.http = self._greet()
        except BaseException:
            self.close()
            raise

    def _greet(self) -> Optional[str]:
        try:
            self._await_server()
            _, call = self.stub.DescribePipelineOptions.with_call(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=self.timeout_s)
        except grpc.FutureTimeoutError as e:
            raise PharosError(
                f'no job service answers at {self.endpoint} within {self.timeout_s:g} s (--job_server_timeout):'
                ' is `pharos serve` running there?') from e
        except grpc.RpcError as e:
            raise explain('ask for the options of the server', e, self.endpoint) from e
        headers = dict(call.initial_metadata() or ())
        theirs = headers.get(VERSION_HEADER)
        if theirs is None:
            _LOGGER.warning('the server at %s does not say that it is Pharos', self.endpoint)
        elif not version.fits(theirs):
            raise PharosError(
                f'the server at {self.endpoint} is Pharos {theirs}, and this is pharos-beam {version.VERSION}:'
                ' install the one that fits the other')
        return headers.get(HTTP_HEADER)

    def _await_server(self) -> None:
        """Waits for somebody at the endpoint: perhaps the server is just being started."""
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=min(_PATIENCE_S, self.timeout_s))
        except grpc.FutureTimeoutError:
            _LOGGER.warning('no job service answers at %s yet; waiting %g s for one', self.endpoint, self.timeout_s)
            ready.result(timeout=max(0, self.timeout_s - _PATIENCE_S))

    def call(self, what: str, method: Any, request: Any) -> Any:
        """Does one call; a PharosError says what could not be done."""
        try:
            return method(request, timeout=self.timeout_s)
        except grpc.RpcError as e:
            raise explain(what, e, self.endpoint) from e

    def close(self) -> None:
        self._channel.close()


class JobHandle(portable_runner.JobServiceHandle):
    """Submits a pipeline; Beam's own class does the work."""

    def __init__(self, service: Service, options: PipelineOptions) -> None:
        super().__init__(service.stub, options)
        self.service = service

    def get_pipeline_options(self) -> struct_pb2.Struct:
        """Returns the options for the server, which has names of its own for some of ours."""
        struct = super().get_pipeline_options()
        ours = self.options.view_as(PharosOptions)
        for name, theirs in SERVER_NAMES.items():
            value = getattr(ours, name)
            if value is not None:
                struct[f'beam:option:{theirs}:v1'] = str(value)
        if not struct.fields['beam:option:job_name:v1'].string_value:
            struct['beam:option:job_name:v1'] = _program()
        return struct

    def submit(self, proto_pipeline):
        try:
            return super().submit(proto_pipeline)
        except grpc.RpcError as e:
            raise explain('submit the pipeline', e, self.service.endpoint) from e

    def run(self, preparation_id: str):
        """Starts the job. The result opens the streams itself."""
        response = self.job_service.Run(beam_job_api_pb2.RunJobRequest(preparation_id=preparation_id))
        return response.job_id, iter(()), iter(())


def connect(options: PipelineOptions) -> Service:
    """Connects to the server that the options name, or else to this program's own."""
    portable = options.view_as(PortableOptions)
    ours = options.view_as(PharosOptions)
    given = ours.pharos_endpoint or portable.job_endpoint
    timeout_s = float(portable.job_server_timeout)
    if given:
        if not _ENDPOINT.fullmatch(given):
            raise PharosError(f'the endpoint {given!r} is not HOST:PORT')
        return Service(given, False, timeout_s)
    try:
        own = server.shared(ours)
    except FileNotFoundError as e:
        raise PharosError(str(e)) from e
    return Service(own.endpoint, True, timeout_s)


def _program() -> str:
    """Returns a name for jobs that have none: that of the program."""
    name = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ''))[0]
    return name if name not in ('', '-', '-c', '__main__', 'ipykernel_launcher') else 'job'
