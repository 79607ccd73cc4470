"""Python side of Pharos: the runner for Beam pipelines, and `pharos_beam.udf` for engines in Go.

The runner is imported when it is asked for, not before: the `pharos` command and the workers of
`pharos_beam.udf` do without it.
"""
from typing import TYPE_CHECKING

from pharos_beam.version import VERSION as __version__

if TYPE_CHECKING:  # what __getattr__ finds, for those who read types without running anything
    from pharos_beam.failure import JobFailedError as JobFailedError
    from pharos_beam.failure import PharosError as PharosError
    from pharos_beam.failure import RejectedError as RejectedError
    from pharos_beam.options import PharosOptions as PharosOptions
    from pharos_beam.result import PharosResult as PharosResult
    from pharos_beam.runner import PharosRunner as PharosRunner

_HOME = {
    'JobFailedError': 'pharos_beam.failure',
    'PharosError': 'pharos_beam.failure',
    'PharosOptions': 'pharos_beam.options',
    'PharosResult': 'pharos_beam.result',
    'PharosRunner': 'pharos_beam.runner',
    'RejectedError': 'pharos_beam.failure',
}

__all__ = ['__version__', *_HOME]  # pylint: disable=undefined-all-variable


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted(__all__)
