# SPDX-License-Identifier: GPL-2.0-only
"""Jobs that run side by side, by default one for each core."""

import os
from concurrent import futures
from dataclasses import dataclass
from typing import Callable

from base import process

WORKERS = max(2, os.cpu_count() or 1)


@dataclass
class Job:
    """Something to do.

    @function: does it
    @after:    names of jobs that must have succeeded before it begins
    """
    function: Callable
    after: tuple = ()


def run(jobs, workers=WORKERS):
    """Run jobs and wait for all of them. If one fails, or a signal comes, the running ones are
    stopped, no other one begins, and the exception is passed on.

    @jobs:    name -> Job; a name in "after" that is not a job counts as done
    @workers: how many may run at a time
    """
    waiting, running, done = dict(jobs), {}, set()
    with futures.ThreadPoolExecutor(workers) as pool:
        try:
            while waiting or running:
                for name in _ready(waiting, jobs, done)[:workers - len(running)]:
                    running[pool.submit(waiting.pop(name).function)] = name
                ended, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                for future in ended:
                    done.add(running.pop(future))
                    future.result()
        except BaseException:
            with process.all_stopped():
                pool.shutdown(wait=True)
            raise


def _ready(waiting, jobs, done):
    """Names of the jobs that can begin."""
    return [name for name, job in waiting.items()
            if all(other in done or other not in jobs for other in job.after)]
