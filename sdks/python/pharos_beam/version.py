"""The version of this package, and which servers it fits."""
import re
from typing import Optional

VERSION = '0.1.0'

_NUMBERS = re.compile(r'v?(\d+)\.(\d+)\.\d+')


def _line(version: str) -> Optional[tuple[int, ...]]:
    """Returns the numbers that versions which fit have in common; None for a build between versions."""
    match = _NUMBERS.match(version)
    if match is None:
        return None
    major, minor = int(match[1]), int(match[2])
    if (major, minor) == (0, 0):  # what Go calls a build of a commit
        return None
    return (0, minor) if major == 0 else (major, )


def fits(server: str, own: str = VERSION) -> bool:
    """Whether a server of that version understands this package.

    Versions fit that have the same major number, and before 1.0 the same minor number as well.
    A build without a version fits everything: whoever made it knows.
    """
    theirs, ours = _line(server), _line(own)
    return theirs is None or ours is None or theirs == ours
