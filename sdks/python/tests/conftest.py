"""Where the tests find the program, and how they end what they start."""
import os
import signal
import subprocess
import sys
import time

import pytest


def wait_for(condition, what, limit_s=180):
    """Waits until `condition` gives something true, and returns that."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f'waited {limit_s} s for {what}')


class Program:
    """A Python program in a process of its own, which says on its output how far it is."""

    def __init__(self, source, *arguments, **environ):
        # A shell without a terminal starts what runs in the background with Ctrl-C ignored, and that is inherited.
        self.process = subprocess.Popen(
            [sys.executable, '-u', '-c', source, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | environ,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def line(self):
        """The next line of its output."""
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError(f'the program has ended: {self.process.communicate()}')
        return text.strip()

    def end(self, limit_s=180):
        """What it said since, on both outputs, when it has ended by itself."""
        return self.process.communicate(timeout=limit_s)


@pytest.fixture
def program():
    """Starts programs, and kills those that a test leaves behind."""
    started = []

    def start(source, *arguments, **environ):
        started.append(Program(source, *arguments, **environ))
        return started[-1]

    yield start
    for p in started:
        p.process.kill()
        p.process.communicate()
