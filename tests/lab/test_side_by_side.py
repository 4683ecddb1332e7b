# SPDX-License-Identifier: GPL-2.0-only
"""Jobs side by side: their order, and how they end when one fails or a signal comes."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process, say, side_by_side
from base.side_by_side import Job
from make import paths


class Order(unittest.TestCase):
    """Who waits for whom."""

    def test_together(self):
        """Two that wait for each other in the middle: only side by side do they end."""
        barrier = threading.Barrier(2)
        side_by_side.run({name: Job(lambda: barrier.wait(20)) for name in "ab"})

    def test_after(self):
        """A job begins when those before it have ended; who is not there is not waited for."""
        said = []
        side_by_side.run({"last": Job(lambda: said.append("last"), ("first", "nobody")),
                          "first": Job(lambda: (time.sleep(0.05), said.append("first")))})
        self.assertEqual(said, ["first", "last"])


class Failure(unittest.TestCase):
    """One fails."""

    def test_others_are_stopped(self):
        """What runs is stopped, what waits does not begin, and the error is passed on."""
        begun = []

        def fails():
            while not process.CHILDREN:
                time.sleep(0.01)
            raise say.LabError("no")

        with tempfile.TemporaryDirectory() as directory:
            def sleeps():
                process.run(["sleep", "60"], Path(directory) / "log", "sleeping")

            begin = time.monotonic()
            with self.assertRaisesRegex(say.LabError, "^no$"):
                side_by_side.run({"fails": Job(fails), "sleeps": Job(sleeps),
                                  "waits": Job(lambda: begun.append(1), ("sleeps",))})
            self.assertLess(time.monotonic() - begin, 40)
            self.assertEqual((begun, process.CHILDREN), ([], set()))
            # And then all is as before.
            process.run(["true"], Path(directory) / "log", "nothing")

    SIGNALLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from base import process, side_by_side
process.catch_signals()
def job():
    process.run(["sh", "-c", "echo $$; sleep 60"], Path(sys.argv[2]) / "log", "sleeping")
try:
    side_by_side.run({"one": side_by_side.Job(job)})
except process.Stopped as stopped:
    print(stopped)
"""

    def test_signal(self):
        """A signal ends it all, and what it had started."""
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory) / "log"
            with subprocess.Popen([sys.executable, "-c", self.SIGNALLED, paths.LAB_D, directory],
                                  stdout=subprocess.PIPE, text=True) as child:
                while child.poll() is None and not (log.exists() and log.read_text().strip()):
                    time.sleep(0.02)
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.communicate(timeout=40)[0],
                                 f"{process.Stopped(signal.SIGTERM)}\n")
            with self.assertRaises(ProcessLookupError):
                os.kill(int(log.read_text()), 0)


if __name__ == "__main__":
    unittest.main()
