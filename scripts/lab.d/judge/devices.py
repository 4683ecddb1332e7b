# SPDX-License-Identifier: GPL-2.0-only
"""The oracles for several devices of a guest that moves once: each device by itself, and the order
in which all of them stop and start.

Pure functions on a trace, ledgers and windows. A device is two numbers: those of the device at the
source and of the one at the destination.
"""

from judge import events, moves, proof

# enum vfio_device_mig_state.
STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P = range(1, 8)
# A device that writes may write to the registers of another one, which must not be in STILL then.
# In P2P it writes nothing, and may be written to.
WRITES, P2P = (RUNNING, PRE_COPY), (RUNNING_P2P, PRE_COPY_P2P)
STILL = (STOP, STOP_COPY, RESUMING)


class Peers:
    """The devices on one side, from the event on with which the move begins there, until it has
    ended there.

    @before: the state that all of them are in at the beginning
    @after:  the states that they end in
    """

    def __init__(self, name, devices, before, after):
        self.name, self.devices, self.before, self.after = name, devices, before, after
        self.state, self.p2p, self.reasons = {}, set(), []
        self.begun = self.ended = False

    def add(self, event):
        """The next event of the trace."""
        if not isinstance(event, events.State) or event.device not in self.devices or self.ended:
            return
        self.state[event.device] = event.to
        states = [self.state.get(device) for device in self.devices]
        self.begun |= all(state == self.before for state in states)
        if not self.begun:
            return
        if event.to in P2P:
            self.p2p.add(event.device)
        if set(states) & set(WRITES) and set(states) & set(STILL):
            self.reasons.append(f"{self.name}: device {event.device:08x} enters state {event.to} "
                                f"while the devices are in {states}")
        self.ended = all(state in self.after for state in states)

    def end(self):
        """Reasons; a side where nothing was seen is one."""
        missed = [f"{self.name}: device {device:08x} was in no P2P state"
                  for device in self.devices if device not in self.p2p]
        return self.reasons[:moves.NAMED] + missed + [
            f"{self.name}: not all devices were seen to the end"] * (not self.ended)


def peers(pairs):
    """What watches the order on both sides. @pairs: (source, destination) of each device."""
    source, destination = zip(*pairs)
    return (Peers("source", source, PRE_COPY, (STOP, STOP_COPY)),
            Peers("destination", destination, RESUMING, (RUNNING,)))


class Device:
    """What the trace has of one device, here and there."""

    def __init__(self, here, there):
        self.here, self.there = here, there
        self.seen, self.order = proof.Seen(here), moves.Order()

    def add(self, event):
        """The next event of the trace."""
        self.seen.add(event)
        if getattr(event, "device", None) in (self.here, self.there):
            self.order.add(event)

    def reasons(self, ledger, foreign, least):
        """What is wrong.

        @ledger:  of the device at the source
        @foreign: the pages of the other devices' windows
        @least:   page writes while tracking that are enough to judge
        """
        name = f"device {self.here:08x}"
        try:
            self.order.end()
            proof.set_oracle(self.seen, ledger)
        except events.BrokenOracle as err:
            return [f"{name}: oracle broken: {err}"]
        lost, astray = proof.lost_pages(self.seen), sorted(ledger.keys() & foreign)
        found = list(self.order.reasons)
        if self.order.visits != [self.here, self.there]:
            found.append(f"{name}: not written here and then there, but by "
                         + (", ".join(f"{one:08x}" for one in self.order.visits)))
        if lost:
            found.append(f"{name}: {len(lost)} pages are lost, the first {lost[0] << 12:#x}")
        if astray:
            found.append(f"{name}: {len(astray)} pages of another device's window are in its "
                         f"ledger, the first {astray[0] << 12:#x}")
        if self.seen.tracked < least:
            found.append(f"{name}: {self.seen.tracked} page writes while tracking are too few")
        return found
