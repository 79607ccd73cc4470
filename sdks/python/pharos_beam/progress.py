"""How far a job is, for people who wait for it."""
import json
import shutil
import sys
import time
import urllib.request
from typing import Any
from typing import Optional
from typing import TextIO

from apache_beam.portability.api import beam_runner_api_pb2

_FETCH_LIMIT_S = 2
_WIDTH = 20  # of the bar, in columns


def fetch(http: Optional[str], job_id: str) -> Optional[dict[str, Any]]:
    """Returns what the server says of a job (`GET /api/jobs/ID`), or None where it says nothing."""
    if http is None:
        return None
    try:
        with urllib.request.urlopen(f'{http}/api/jobs/{job_id}', timeout=_FETCH_LIMIT_S) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


class Progress:
    """Shows nothing."""
    live = False

    def update(self, http: Optional[str], job_id: str) -> None:
        """Shows how far the job is now."""

    def close(self, http: Optional[str], job_id: str, state: str) -> None:
        """Shows that the job has ended in that state."""


class Bar(Progress):
    """One line on a terminal, which is gone when the job has ended."""
    live = True

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._drawn = False

    def update(self, http: Optional[str], job_id: str) -> None:
        job = fetch(http, job_id)
        if job is None:
            return
        width = shutil.get_terminal_size().columns - 1
        self._out.write('\r' + line(job, time.monotonic() - self._began)[:width] + '\x1b[K')
        self._out.flush()
        self._drawn = True

    def close(self, http: Optional[str], job_id: str, state: str) -> None:
        if self._drawn:
            self._out.write('\r\x1b[K')
            self._out.flush()
            self._drawn = False


def line(job: dict[str, Any], seconds: float) -> str:
    """Says in one line how far a job is."""
    stages = job['stages']
    done = sum(s['state'] == 'done' for s in stages)
    share = sum(s['done'] for s in stages) / max(1, len(stages))
    full = round(share * _WIDTH)
    elements = sum(s['input_elements'] for s in stages)
    now = next((s['name'] for s in stages if s['state'] == 'running'), '')
    clock = f'{int(seconds) // 60}:{int(seconds) % 60:02}'
    return (
        f'{job["name"]} [{"#" * full}{"." * (_WIDTH - full)}] {done}/{len(stages)} stages, '
        f'{elements:,} elements, {clock} {now}').rstrip()


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook."""
    ipython = sys.modules.get('IPython')
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, 'kernel', None) is not None


def choose(wish: str, pipeline: beam_runner_api_pb2.Pipeline, quiet: bool) -> Progress:
    """Returns what shows the job, and shows the pipeline where that can be.

    Args:
      wish: `--pharos_progress`.
      pipeline: as the SDK made it.
      quiet: whether somebody else shows the pipeline.
    """
    if wish == 'off':
        return Progress()
    if in_notebook():
        from pharos_beam import notebook

        if not quiet:
            notebook.show_graph(pipeline)
        return notebook.Widget()
    if wish == 'on' or sys.stderr is not None and sys.stderr.isatty():
        return Bar(sys.stderr)
    return Progress()
