# SPDX-License-Identifier: GPL-2.0-only
"""The control of scenarios in which no page may be lost: a guest moves on a backend that forgets
unpinned pages, and their oracles must find that. An oracle that finds nothing then is blind.
"""

import time
from contextlib import ExitStack, contextmanager

from judge import moves, proof, ram, stays
from play import backend
from play.attempt import move, over_socket
from play.host import Host
from play.traveller import Traveller


@contextmanager
def loaded(path, config):
    """This backend is loaded, and afterwards that of the settings. There must be no guest."""
    backend.load(path)
    try:
        yield
    finally:
        backend.load(getattr(config, "backend", "") or "ours")


def blind(here, there, different):
    """Why a control shows nothing; empty if it shows that both oracles can fail.

    @here:      what the ledger's oracle says of the source, where nothing can be lost yet
    @there:     the same of the destination, or the pages that it says are lost
    @different: pages of the window that differ
    """
    if here:
        return [f"wrong before the move: {here[0]}"]
    return ["the ledger's oracle found no lost page"] * (not there) \
        + ["the comparison of RAM found no lost page"] * (not different)


def in_window(different, window):
    """Those of a comparison's pages that are in a window."""
    return {entry["page"] for entry in different} & window


class Forgetful(Traveller):
    """A guest that moves once, by the same steps as one that must lose nothing. It does not go on
    at the destination, where it could stumble over what is lost."""

    def play(self):
        """The move, and what the oracles say of it."""
        begin = time.monotonic()
        with ExitStack() as stack:
            self.boot(stack)
            destination = Host(self.config, self.directory, self._elsewhere(), incoming=True)
            stack.callback(destination.close)
            destination.vm.connect()
            one = over_socket(self, self.host, destination)
            move(one)
            one.completes()
            different = self.look(destination)
        self.look_at_trace(different)
        self._file("both oracles find what is lost", time.monotonic() - begin)

    def look(self, destination):
        """Both sides are stopped. Returns the pages of the window that differ."""
        ledger = proof.parse_ledger(self.host.mdev.ledger(), "ledger")
        self.leaves(self.host, ledger)
        written = moves.Written()
        written.add(ledger)
        with self.host.vm.open_ram() as files, destination.vm.open_ram() as others:
            here, there = (written.missing(one, self.window) for one in (files, others))
            copy = ram.Copy(others)
            different = in_window(ram.compare(files, copy)["different"], self.window)
        copy.close()
        self.say(f"{len(different)} pages differ; {'; '.join(there[:2]) or 'no page is lost'}")
        for reason in blind(here, there, different):
            self.complain(reason)
        return different

    def look_at_trace(self, different):
        """The set oracle must find the same."""
        reported = stays.Stays(self.left)
        self.watch(reported)
        for reason in reported.broken:
            self.complain(reason)
        lost = set(reported.lost)
        self.say(f"{len(lost)} pages are in no report since they were written")
        self.complain_if(not lost, "the set oracle found no lost page")
        self.complain_if(different - lost,
                         f"{len(different - lost)} pages differ that are not lost")
