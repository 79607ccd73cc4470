"""A server of this program's own, which its pipelines share."""
import atexit
import collections
import json
import logging
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Optional

from pharos_beam import binary
from pharos_beam.failure import PharosError
from pharos_beam.options import PharosOptions

_LOGGER = logging.getLogger(__name__)

START_LIMIT_S = 30
STOP_LIMIT_S = 15
_POLL_S = 0.01
_TAIL_LINES = 10  # of its output, in an error

_OPTIONS = {'pharos_memory': '--memory', 'pharos_disk': '--disk', 'pharos_data': '--data'}


@dataclass(frozen=True)
class Settings:
    """What a server is started with. Pipelines with the same settings share a server."""
    program: str
    flags: tuple[str, ...]

    @classmethod
    def of(cls, options: PharosOptions) -> 'Settings':
        given = {flag: getattr(options, name) for name, flag in _OPTIONS.items()}
        return cls(binary.find(options.pharos_binary), tuple(f'{f}={v}' for f, v in given.items() if v))


class Server:
    """A `pharos serve` on free ports.

    Its standard input is a pipe from here and it ends with that pipe: it does not outlive this
    process, however that ends. It is in a session of its own: Ctrl-C reaches this program only,
    which has jobs to cancel first.
    """

    def __init__(self, settings: Settings) -> None:
        self._tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        with tempfile.TemporaryDirectory(prefix='pharos-python-') as directory:
            ready = os.path.join(directory, 'ready.json')
            command = [
                settings.program, 'serve', '--port=0', '--http-port=0', '--until-eof', '--log-level=warn',
                f'--ready-file={ready}', *settings.flags
            ]
            try:
                self._process = subprocess.Popen(  # pylint: disable=consider-using-with
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    start_new_session=True)
            except OSError as e:
                raise PharosError(f'cannot start {settings.program}: {e}') from e
            self._output = threading.Thread(target=self._read_output, name='pharos-output', daemon=True)
            try:
                self._output.start()
                addresses = self._await_ready(settings.program, ready)
            except BaseException:  # Ctrl-C, for one
                self._process.kill()
                self._process.wait()
                self.hang_up()
                raise
        self.endpoint: str = addresses['job_endpoint']
        self.http: str = addresses['http']
        self.pid = self._process.pid

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                text = line.decode(errors='replace').rstrip()
                _LOGGER.debug('%s', text)
                self._tail.append(text)

    def _await_ready(self, program: str, ready: str) -> dict[str, str]:
        end = time.monotonic() + START_LIMIT_S
        while not os.path.exists(ready):
            code = self._process.poll()
            if code is not None:
                self._output.join(STOP_LIMIT_S)
                raise PharosError(f'{program} serve ended with exit code {code}: {self._said()}')
            if time.monotonic() > end:
                raise PharosError(f'{program} serve is not ready after {START_LIMIT_S} s: {self._said()}')
            time.sleep(_POLL_S)
        with open(ready, encoding='utf-8') as f:
            return json.load(f)

    def _said(self) -> str:
        return ' / '.join(self._tail) or 'it says nothing (is it pharos?)'

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the server, and the jobs that it still has."""
        self.hang_up()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            _LOGGER.warning('pharos serve does not end and is killed')
            self._process.kill()
            self._process.wait()
        self._output.join(STOP_LIMIT_S)

    def hang_up(self) -> None:
        """Closes this process's end of the pipe."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # the server has ended before


_servers: dict[Settings, Server] = {}
_lock = threading.Lock()


def shared(options: PharosOptions) -> Server:
    """Returns the server of this process for these options, started when there is none that runs."""
    settings = Settings.of(options)
    with _lock:
        server: Optional[Server] = _servers.get(settings)
        if server is None or not server.alive():
            server = _servers[settings] = Server(settings)
        return server


@atexit.register
def stop_all() -> None:
    """Ends all servers of this process."""
    with _lock:
        servers = list(_servers.values())
        _servers.clear()
    for server in servers:
        server.hang_up()
    for server in servers:
        server.stop()


def _forget() -> None:
    """After a fork: the servers are the parent's, and end with it, not with this process."""
    global _lock  # pylint: disable=global-statement
    _lock = threading.Lock()
    for server in _servers.values():
        server.hang_up()
    _servers.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)
