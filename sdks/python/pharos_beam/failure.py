"""What goes wrong, as exceptions, and how a failed job becomes one that its program can catch."""
import builtins
import contextlib
import re
import sys
import threading
import traceback
from collections import deque
from typing import Iterator
from typing import Optional


class PharosError(RuntimeError):
    """Something about the server or the job went wrong, in one line; no code of the pipeline's."""


class RejectedError(PharosError, ValueError):
    """The server does not run this pipeline; it says all reasons at once."""


class JobFailedError(RuntimeError):
    """A job failed.

    What is raised is an instance of the type of the exception in the pipeline's code, too: `except
    ValueError` finds a pipeline whose code raised a ValueError. Its text is that exception's, and
    its traceback leads to the line that raised it, if the code ran in this process; else the text
    is the runner's, which has the whole traceback in it.

    Attributes:
      message: what the runner says: which transform, how many attempts, and the whole traceback.
      original: the exception of the pipeline's code, if that ran in this process; else None.
    """
    message: str = ''
    original: Optional[BaseException] = None


def encodable(text: str) -> str:
    """`text` with escapes for what UTF-8 does not have: lone surrogates, as in file names that are not valid."""
    return text.encode(errors='backslashreplace').decode()


@contextlib.contextmanager
def tellable() -> Iterator[None]:
    """Makes exceptions such that their traceback has UTF-8: Beam's harness answers with that, or not at all."""
    try:
        yield
    except BaseException:
        text = traceback.format_exc()
        if encodable(text) != text:
            raise RuntimeError(encodable(text)) from None
        raise


class Caught:
    """Exceptions of code that ran in this process, the newest of them, to be found by their text."""
    LIMIT = 32  # exceptions; each holds the frames it came through

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exceptions: deque[BaseException] = deque(maxlen=self.LIMIT)

    def add(self, exception: BaseException) -> None:
        with self._lock:
            self._exceptions.append(exception)

    def find(self, text: str) -> Optional[BaseException]:
        """Returns the newest exception whose last lines are in `text`."""
        with self._lock:
            exceptions = list(self._exceptions)
        for exception in reversed(exceptions):
            if encodable(''.join(traceback.format_exception_only(type(exception), exception))).strip() in text:
                return exception
        return None

    def clear(self) -> None:
        with self._lock:
            self._exceptions.clear()


def job_failed(message: str, original: Optional[BaseException] = None) -> JobFailedError:
    """Makes the exception for a job that failed with that message; of no other type where that cannot be made."""
    try:
        failure, original = _as_its_type(message, original)
    except BaseException:  # pylint: disable=broad-except
        failure = JobFailedError(message)  # what ran was code of the pipeline's: a __str__ that fails, for one
        if original is not None:
            failure.__traceback__ = original.__traceback__
    failure.message, failure.original = message, original
    return failure


def _as_its_type(message: str, original: Optional[BaseException]) -> tuple[JobFailedError, Optional[BaseException]]:
    """Makes the exception of the type of the pipeline's own, and finds that one beneath what Beam made of it."""
    if original is None:
        return _instance(_type_in(message), message), None
    first = _unwrapped(original)
    failure = _instance(type(first), _text(original))
    failure.__dict__.update(getattr(first, '__dict__', {}))
    failure.__context__, failure.__cause__ = first.__context__, first.__cause__
    failure.__suppress_context__ = first.__suppress_context__
    failure.__traceback__ = original.__traceback__
    return failure, first


def _unwrapped(exception: BaseException) -> BaseException:
    """Returns the exception that the pipeline's code raised.

    Beam's worker raises it once more with the step's name behind its text: as the same type, or as
    a RuntimeError where it cannot make another of that type.
    """
    first = exception.__context__
    if exception.__cause__ is not None or first is None:
        return exception
    same = type(first) is type(exception) or type(exception) is RuntimeError and type(first).__name__ in _text(exception)
    return first if same and _text(first) in _text(exception) else exception


def _instance(kind: Optional[type], text: str) -> JobFailedError:
    """Makes a JobFailedError that is a `kind`, too, where that can be."""
    if kind is None or not issubclass(kind, Exception) or issubclass(JobFailedError, kind):
        return JobFailedError(text)
    try:
        both = type(kind.__name__, (JobFailedError, kind), {'__init__': lambda self, *args: None, '__str__': _text})
        both.__module__, both.__qualname__ = kind.__module__, kind.__qualname__
        failure = kind.__new__(both, text)
        failure.args = (text, )
        return failure
    except Exception:  # pylint: disable=broad-except
        return JobFailedError(text)  # a type that cannot be made without more, or with another


def _text(exception: BaseException) -> str:
    """Returns the text of an exception as it was made. KeyError, for one, shows another."""
    return str(exception.args[0]) if len(exception.args) == 1 else str(exception)


_LAST_LINE = re.compile(r'^([A-Za-z_][\w.]*)(?:: |$)')


def _type_in(text: str) -> Optional[type]:
    """Returns the type of the exception with which a traceback in `text` ends, if this program has that type."""
    _, found, tail = text.rpartition('Traceback (most recent call last):')
    if not found:
        return None
    for line in tail.splitlines():
        match = _LAST_LINE.match(line)
        if match is not None:
            module, _, name = match[1].rpartition('.')
            kind = getattr(sys.modules.get(module) if module else builtins, name, None)
            return kind if isinstance(kind, type) and issubclass(kind, Exception) else None
    return None
