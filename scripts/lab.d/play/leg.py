# SPDX-License-Identifier: GPL-2.0-only
"""One live migration of a guest between two QEMUs: several rounds of pre-copy at a limited rate,
then it may end. What is seen of it is evidence.

Scenarios make classes of Leg, which know the device.
"""

import json
import time
from contextlib import ExitStack

from base.patience import Patience
from judge import ram
from play import guest_vm, switchover
from play.attempt import HELD_BACK
from play.host import FAILURES, ScenarioError


class Leg:
    """One live migration and the evidence of it.

    @config:    the settings, and pages_min: page writes that are enough to judge
    @directory: gets the evidence
    @facts:     what leg.json has, besides what is seen here
    """

    def __init__(self, name, config, directory, facts):
        self.name = name
        self.config = config
        self.directory = directory
        self.begin = time.time()
        self.limited, self.downtime_ms, self.next_round = True, 0, config.rounds
        self.facts = {"ram_pages": config.mem_mb << 8, "samples": [], "steps": [], "summary": {},
                      **facts}

    def say(self, text):
        """Print progress; people wait for it."""
        now = time.time() - self.begin
        self.facts["steps"].append([round(now, 2), text])
        print(f"migrate: {self.name}: {now:6.1f} s  {text}", flush=True)

    def play(self):
        """Play the whole leg; evidence is written whatever happens."""
        try:
            with ExitStack() as stack:
                self.play_in(stack)
                self.say("collecting the trace")
        except FAILURES as err:
            self.facts["error"] = f"{type(err).__name__}: {err}"
            self.say(self.facts["error"])
        (self.directory / "leg.json").write_text(json.dumps(self.facts, indent=1))
        return "error" not in self.facts

    def play_in(self, stack):
        """Play it. What is begun ends with the stack."""
        raise NotImplementedError

    def counters(self):
        """What the device counts: written, its page writes, and what else the charts show."""
        raise NotImplementedError

    def migrate(self, source, destination):
        """Several rounds at a limited rate, then let it converge."""
        config = self.config
        address = f"unix:{self.directory / 'migration.socket'}"
        destination.qmp.command("migrate-incoming", uri=address)
        source.qmp.command("migrate-set-parameters", max_bandwidth=config.bandwidth << 20,
                           downtime_limit=1, avail_switchover_bandwidth=HELD_BACK)
        before = self.counters()["written"]
        source.qmp.command("migrate", uri=address)
        patience = Patience(config.patience)
        while True:
            sample = self._sample(source)
            if sample["status"] in ("completed", "failed", "cancelled"):
                break
            written = sample["written"] - before
            # A workload that writes little takes long to write enough.
            patience.progress(sample["status"], sample["rounds"], sample["transferred"],
                              min(written, config.pages_min))
            self._pace(source, sample, written)
            if patience.exhausted():
                raise ScenarioError(f"migration is {sample['status']}, and made no progress for "
                                    f"{config.patience} s in round {sample['rounds']}")
            time.sleep(0.1)
        self._migrated(source.qmp.command("query-migrate"))

    def _pace(self, source, sample, written):
        """Hold the migration back until there is enough to judge, then let it end.

        The bandwidth limit goes first and the downtime limit later, so that QEMU estimates the
        downtime with the real bandwidth. A machine that is too slow to converge gets a longer
        downtime.
        """
        config, rounds = self.config, sample["rounds"]
        if rounds < self.next_round:
            return
        if self.downtime_ms:
            self.downtime_ms *= 2
        elif self.limited:
            if written < self.config.pages_min:
                return
            self.limited = False
            self.say(f"{rounds} rounds, {written} page writes: full bandwidth")
            source.qmp.command("migrate-set-parameters", max_bandwidth=guest_vm.UNLIMITED,
                               avail_switchover_bandwidth=0)
        else:
            self.downtime_ms = config.downtime_limit_ms
        if self.downtime_ms:
            self.say(f"{rounds} rounds: downtime of {self.downtime_ms} ms allowed")
            source.qmp.command("migrate-set-parameters", downtime_limit=self.downtime_ms)
        self.next_round = rounds + (4 if self.downtime_ms else 2)

    def _sample(self, source):
        """One point of the charts."""
        info = source.qmp.command("query-migrate")
        memory = info.get("ram", {})
        sample = {
            "time": time.time(), "status": info.get("status", "none"),
            "rounds": memory.get("dirty-sync-count", 0),
            "remaining": memory.get("remaining", 0),
            "transferred": memory.get("transferred", 0),
            "expected_downtime": info.get("expected-downtime"),
            "vfio": info.get("vfio", {}).get("transferred"),
            **self.counters(),
        }
        self.facts["samples"].append(sample)
        return sample

    def _migrated(self, info):
        expected = [sample["expected_downtime"] for sample in self.facts["samples"]
                    if sample["expected_downtime"] is not None]
        self.facts["migration"] = info
        self.facts["summary"].update(
            migration_status=info["status"],
            rounds=info.get("ram", {}).get("dirty-sync-count", 0),
            downtime_ms=info.get("downtime"),
            expected_downtime_ms=expected[-1] if expected else None)
        if info["status"] != "completed":
            raise ScenarioError(f"migration {info['status']}: {info.get('error-desc', '')}")
        self.say(f"migrated: {self.facts['summary']['rounds']} rounds, "
                 f"downtime {info.get('downtime')} ms")

    def wait_for_stop(self, source, destination):
        """Wait until the source is stopped and the destination not yet started."""
        guest_vm.wait_status(source, ("postmigrate",), self.config.patience)
        guest_vm.wait_status(destination, ("paused", "prelaunch"), self.config.patience)

    def go_on(self, destination):
        """Copy the destination's RAM and let the guest continue. RAM must be the same as at the
        source; it is copied now and compared later, so that the guest need not wait for the
        comparison."""
        copy, held = switchover.go_on(destination, self.config.pause_s)
        self.facts["summary"].update(held)
        self.say(f"the destination was held {held['held_s']} s for the comparison")
        # Only when it runs has the device taken over what it was sent.
        guest_vm.wait_status(destination, ("running",), self.config.patience)
        return copy

    def compare(self, source, copy):
        """Compare the source's RAM with a copy of the destination's."""
        with source.open_ram() as files:
            result = ram.compare(files, copy)
        copy.close()
        (self.directory / "ram.json").write_text(json.dumps(result))
        self.say(f"RAM: {result['pages_compared']} pages compared, "
                 f"{result['pages_different']} differ")
