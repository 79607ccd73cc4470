"""Where the `pharos` program is."""
import os
import shutil
import sys
from pathlib import Path
from typing import Optional

VARIABLE = 'PHAROS_BINARY'

_NAME = 'pharos.exe' if sys.platform == 'win32' else 'pharos'


def packaged() -> Optional[str]:
    """Returns the program that came with this package, or None where it came without."""
    path = Path(__file__).with_name('bin') / _NAME
    return str(path) if path.is_file() else None


def find(option: Optional[str] = None) -> str:
    """Returns the path of the program to start.

    That is `option`, else $PHAROS_BINARY, else what came with this package, else the PATH's.

    Raises:
      FileNotFoundError: there is none, or what is named is no program.
    """
    for path, source in ((option, '--pharos_binary'), (os.environ.get(VARIABLE), VARIABLE)):
        if path:
            return _executable(path, source)
    found = packaged() or _on_path()
    if found is None:
        raise FileNotFoundError(
            'no pharos program: this package came without one. Put it on the PATH, name it with --pharos_binary or'
            f' {VARIABLE}, or name a server that runs with --pharos_endpoint')
    return found


def _executable(path: str, source: str) -> str:
    if not (os.path.isfile(path) and os.access(path, os.X_OK)):
        raise FileNotFoundError(f'{source}: {path} is not a program')
    return path


def _on_path() -> Optional[str]:
    """Returns the PATH's `pharos`, unless it is the command of this package, which looks here itself."""
    directories = os.environ.get('PATH', os.defpath).split(os.pathsep)
    own = os.path.dirname(os.path.abspath(sys.executable))
    others = [d for d in directories if os.path.abspath(d) != own]
    return shutil.which(_NAME, path=os.pathsep.join(others))
