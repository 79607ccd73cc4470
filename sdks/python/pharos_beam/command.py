"""The `pharos` command that is installed with this package: the program itself."""
import os
import subprocess
import sys

from pharos_beam import binary

NOT_FOUND = 127  # as a shell says


def main() -> int:
    try:
        program = binary.find()
    except FileNotFoundError as e:
        print(f'pharos: {e}', file=sys.stderr)
        return NOT_FOUND
    arguments = [program, *sys.argv[1:]]
    if sys.platform == 'win32':  # where exec would leave the terminal to the shell
        return subprocess.call(arguments)
    os.execv(program, arguments)
