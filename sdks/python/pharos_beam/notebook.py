"""What a notebook shows of a pipeline and its job."""
import html
from typing import Any
from typing import Optional

from apache_beam.portability.api import beam_runner_api_pb2
from IPython.display import HTML
from IPython.display import DisplayHandle
from IPython.display import display

from pharos_beam import graph
from pharos_beam import progress


def show_graph(pipeline: beam_runner_api_pb2.Pipeline) -> None:
    """Shows a picture of the pipeline."""
    display(HTML(graph.svg(pipeline)))


class Widget(progress.Progress):
    """A table of the job's stages that changes in its place, and stays when the job has ended."""
    live = True

    def __init__(self) -> None:
        self._handle: Optional[DisplayHandle] = None

    def update(self, http: Optional[str], job_id: str) -> None:
        job = progress.fetch(http, job_id)
        if job is not None:
            self._draw(table(job))

    def close(self, http: Optional[str], job_id: str, state: str) -> None:
        job = progress.fetch(http, job_id)
        self._draw(table(job) if job is not None else f'<p>Job: <b>{html.escape(state)}</b></p>')

    def _draw(self, text: str) -> None:
        if self._handle is None:
            self._handle = display(HTML(text), display_id=True)
        else:
            self._handle.update(HTML(text))


def table(job: dict[str, Any]) -> str:
    """Makes a table of what the server says of a job."""
    rows = ''.join(_row(s) for s in job['stages'])
    return (
        f'<p>Job {html.escape(job["name"])}: <b>{html.escape(job["state"])}</b></p>'
        '<table><tr><th>stage</th><th>state</th><th>done</th><th>in</th><th>out</th></tr>' + rows + '</table>')


def _row(stage: dict[str, Any]) -> str:
    bar = f'<progress max="1" value="{stage["done"]:.2f}"></progress>'
    return (
        f'<tr><td style="text-align:left">{html.escape(stage["name"])}</td><td>{html.escape(stage["state"])}</td>'
        f'<td>{bar}</td><td>{stage["input_elements"]:,}</td><td>{stage["output_elements"]:,}</td></tr>')
