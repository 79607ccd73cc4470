"""A job that has been started."""
import atexit
import concurrent.futures.thread  # before the end of this file, see there
import logging
import os
import sys
import threading
import time
import weakref
from typing import Callable
from typing import Iterable
from typing import Mapping
from typing import Optional

import grpc
from apache_beam.metrics import monitoring_infos
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners import runner
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.runner import PipelineState

from pharos_beam.client import Service
from pharos_beam.failure import Caught
from pharos_beam.failure import PharosError
from pharos_beam.failure import job_failed
from pharos_beam.progress import Progress

_LOGGER = logging.getLogger(__name__)

_BREAK_PAUSE_S = 0.5
_REDRAW_S = 0.25
_CANCEL_LIMIT_S = 10
_NO_REASON = 'the runner gave no reason'

_running: 'weakref.WeakSet[PharosResult]' = weakref.WeakSet()


def state_of(number: int) -> str:
    """Returns Beam's name of a state of the Jobs API."""
    name = beam_job_api_pb2.JobState.Enum.Name(number)
    return getattr(PipelineState, name, PipelineState.UNKNOWN)


class PharosResult(runner.PipelineResult):
    """A job on Pharos.

    A thread of its own follows the job: it logs what the job says, and when the job has ended it
    fetches the last metrics and releases what was started for it. State and metrics stay known
    after that, though the server may be gone.
    """

    def __init__(
            self, job_id: str, service: Service, caught: Optional[Caught], closers: Iterable[Callable[[], None]],
            show: Progress, steps: Mapping[str, str]) -> None:
        """Follows a job.

        Args:
          job_id: the server's name for it.
          service: the server; `closers` close it.
          caught: what the code that runs in this process raises; None if it runs elsewhere.
          closers: called one after the other when the job has ended.
          show: what draws the job's progress.
          steps: names of the pipeline's transforms by their ids, for metrics.
        """
        super().__init__(PipelineState.STARTING)
        self.job_id = job_id
        self._steps = steps
        self._service = service
        self._caught = caught
        self._closers = list(closers)
        self._show = show
        self._ended = threading.Event()
        self._lost: Optional[PharosError] = None  # this and what follows: of the following thread until the end
        self._metrics: Optional[portable_runner.PortableMetrics] = None
        self._failure: Optional[BaseException] = None
        self._last_error = _NO_REASON
        self._seen = 0  # responses
        self._heard = False  # anything from the stream that is open
        self.needs_us = caught is not None or service.own
        _running.add(self)
        threading.Thread(target=self._follow, name=f'pharos-{job_id}', daemon=True).start()

    # The following thread.

    def _follow(self) -> None:
        try:
            self._state = self._await_end()
            if self._state == PipelineState.FAILED:
                original = self._caught.find(self._last_error) if self._caught else None
                self._failure = job_failed(self._last_error, original)
            self._metrics = self._fetch_metrics()
        except Exception as e:  # pylint: disable=broad-except
            if PipelineState.is_terminal(self._state):
                _LOGGER.warning('the metrics of job %s are lost: %s', self.job_id, e)
            elif isinstance(e, PharosError):
                self._lost = e
            else:
                self._lost = PharosError(f'cannot follow job {self.job_id} any more: {e!r}')
                self._lost.__cause__ = e
            if self._lost is not None:
                _LOGGER.error('%s', self._lost)  # perhaps nobody waits for the job
        finally:
            self._release()
            self._ended.set()

    def _release(self) -> None:
        if self._caught:
            self._caught.clear()
        for close in self._closers:
            try:
                close()
            except Exception:  # pylint: disable=broad-except
                _LOGGER.debug('cannot release what job %s used', self.job_id, exc_info=True)

    def _await_end(self) -> str:
        """Follows the messages to the last state, also over a restart of a server that keeps its jobs."""
        patience_s = 0 if self._service.own else self._service.timeout_s
        lost_at: Optional[float] = None
        while True:
            why: Optional[BaseException] = None
            self._heard = False
            try:
                state = self._read_messages()
                if PipelineState.is_terminal(state):
                    return state
            except grpc.RpcError as e:
                why = e
            if lost_at is None or self._heard:
                lost_at = time.monotonic() + patience_s
            if time.monotonic() >= lost_at:
                raise PharosError(
                    f'lost job {self.job_id}: the server at {self._service.endpoint} does not answer') from why
            time.sleep(_BREAK_PAUSE_S)

    def _read_messages(self) -> str:
        """Reads the stream to its end and returns the last state in it. One that is opened again begins anew."""
        state = PipelineState.UNKNOWN
        request = beam_job_api_pb2.JobMessagesRequest(job_id=self.job_id)
        for n, response in enumerate(self._service.stub.GetMessageStream(request), 1):
            self._heard = True
            if response.HasField('state_response'):
                state = state_of(response.state_response.state)
            if n > self._seen:
                self._seen = n
                self._log(response)
        return state

    def _log(self, response: beam_job_api_pb2.JobMessagesResponse) -> None:
        if response.HasField('state_response'):
            self._state = state_of(response.state_response.state)
            _LOGGER.info('Job %s is %s', self.job_id, self._state)
            return
        message = response.message_response
        if message.importance == beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR:
            self._last_error = message.message_text
        level = portable_runner.MESSAGE_LOG_LEVELS.get(message.importance, logging.INFO)
        _LOGGER.log(level, '%s', message.message_text)

    def _fetch_metrics(self) -> portable_runner.PortableMetrics:
        request = beam_job_api_pb2.GetJobMetricsRequest(job_id=self.job_id)
        response = self._service.call("ask for the job's metrics", self._service.stub.GetJobMetrics, request)
        for info in (*response.metrics.attempted, *response.metrics.committed):
            step = self._steps.get(info.labels.get(monitoring_infos.PTRANSFORM_LABEL, ''))
            if step is not None:  # PortableMetrics takes the id for the name, by which nobody can ask
                info.labels[monitoring_infos.PTRANSFORM_LABEL] = step
        return portable_runner.PortableMetrics(response)

    # What its program asks.

    @property
    def state(self) -> str:
        """The state, asked of the server while the job runs."""
        if self._ended.is_set():
            if self._lost is not None:
                raise self._lost
            return self._state
        request = beam_job_api_pb2.GetJobStateRequest(job_id=self.job_id)
        try:
            return state_of(self._service.call('ask for the state', self._service.stub.GetState, request).state)
        except (PharosError, ValueError):  # ValueError: the channel has been closed in this moment
            if not self._ended.wait(_BREAK_PAUSE_S) or self._lost is not None:
                raise
            return self._state

    def job_page(self) -> Optional[str]:
        """Returns the address of the job's page, if the server has one."""
        return f'{self._service.http}/jobs/{self.job_id}' if self._service.http else None

    def wait_until_finish(self, duration: Optional[int] = None) -> str:
        """Waits for the job's end, and shows on a terminal or in a notebook how far it is.

        Args:
          duration: how long in milliseconds; None or 0 is for ever.

        Returns:
          The last state: DONE, DRAINED or CANCELLED; or the state of now if the time is over.

        Raises:
          JobFailedError: the job failed. It is an instance of the type that the pipeline's code
            raised, too, and has the traceback of that.
          PharosError: the server does not answer any more.
        """
        try:
            if not self._wait(duration / 1000 if duration else None):
                return self.state
        except KeyboardInterrupt:
            self._abandon()
            raise
        if self._lost is not None:
            raise self._lost
        if self._failure is not None:
            raise self._failure
        return self._state

    def _wait(self, limit_s: Optional[float]) -> bool:
        """Waits, drawing, and says whether the job has ended."""
        end = time.monotonic() + limit_s if limit_s is not None else None
        pause_s = _REDRAW_S if self._show.live else threading.TIMEOUT_MAX
        while not self._ended.is_set():
            left_s = end - time.monotonic() if end is not None else pause_s
            if left_s <= 0:
                break
            if not self._ended.wait(min(left_s, pause_s)):
                self._show.update(self._service.http, self.job_id)
        if self._ended.is_set():
            self._show.close(self._service.http, self.job_id, self._state)
        return self._ended.is_set()

    def cancel(self) -> str:
        """Stops the job at once; returns the state."""
        return self._ask('cancel the job', self._service.stub.Cancel, beam_job_api_pb2.CancelJobRequest)

    def drain(self) -> str:
        """Lets the job finish what it has read, and read no more; returns the state."""
        return self._ask('drain the job', self._service.stub.Drain, beam_job_api_pb2.DrainJobRequest)

    def _ask(self, what, method, request) -> str:
        if self._ended.is_set():
            return self.state
        return state_of(self._service.call(what, method, request(job_id=self.job_id)).state)

    def metrics(self) -> portable_runner.PortableMetrics:
        """Returns the metrics of now, or of the end: attempted, and committed, which count each element once."""
        if not self._ended.is_set():
            return self._fetch_metrics()
        if self._metrics is None:
            raise PharosError(f'the metrics of job {self.job_id} could not be fetched when it ended')
        return self._metrics

    def _abandon(self) -> None:
        """Cancels the job, since its program ends, and waits for its end a little."""
        _LOGGER.warning('cancelling job %s', self.job_id)
        try:
            self.cancel()
            self._ended.wait(_CANCEL_LIMIT_S)
        except (PharosError, ValueError):
            _LOGGER.debug('cannot cancel job %s', self.job_id, exc_info=True)
        self._show.close(self._service.http, self.job_id, self._state)

    def _at_exit(self) -> None:
        """The program has come to its end, the job has not: waits for it, unless something went wrong."""
        if self._ended.is_set() or not self.needs_us:
            return
        if getattr(sys, 'last_type', None) is not None:
            self._abandon()
            return
        _LOGGER.info('the program has ended; waiting for job %s (Ctrl-C cancels it)', self.job_id)
        try:
            self._ended.wait()
        except KeyboardInterrupt:
            self._abandon()


# After a fork the jobs are the parent's: the threads that follow them are not in the child, which would wait for ever.
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_running.clear)


def _wait_for_jobs() -> None:
    for result in list(_running):
        result._at_exit()


# Executors refuse work once threading has run their function of its own list, last in, first out;
# atexit comes later still. The workers of a job need executors, so this one has to be above theirs,
# which is on the list since its import.
assert concurrent.futures.thread
getattr(threading, '_register_atexit', atexit.register)(_wait_for_jobs)
