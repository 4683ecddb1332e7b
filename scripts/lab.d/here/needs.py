# SPDX-License-Identifier: GPL-2.0-only
"""What each scenario needs of a host, which the lab always has, and what it changes there."""

from dataclasses import dataclass, field

from base import say
from judge import points

LAB_MODULES = "needs modules that only the lab has"
FAULTS = [f"sys/kernel/debug/{kind}/{knob}"
          for kind in ("failslab", "fail_page_alloc", "fail_usercopy")
          for knob in ("verbose", "ignore-gfp-wait", "min-order")]


@dataclass(frozen=True)
class Needs:
    """Of one scenario.

    @guests:   how many run at a time; 0: none, and no QEMU
    @copies:   copies of a guest's memory that it makes
    @beside:   MiB of memory for all else
    @traces:   instances of tracefs that it makes
    @ledger:   whether it reads debugfs
    @root:     what it does that only root may; "" if others can play it
    @programs: of the host: (program, package)
    @only:     {setting: (what it must be, why no other)}
    @defaults: settings that are others than in the lab
    @files:    files whose value it changes
    @places:   where it mounts something
    """
    guests: int = 2
    copies: int = 0
    beside: int = 512
    traces: tuple = ()
    ledger: bool = False
    root: str = ""
    programs: tuple = ()
    only: dict = field(default_factory=dict)
    defaults: dict = field(default_factory=dict)
    files: tuple = ()
    places: tuple = ()


def _moves(trace, **only):
    """A proof by trace and ledger, without its control: that loads a broken backend."""
    return Needs(copies=1, traces=(trace,), ledger=True, root="trace, and read the ledger",
                 only={"container": ("type1", LAB_MODULES), **only}, defaults={"control": "0"})


def _container_points():
    """The points of the experiment that need no patched vfio."""
    return ",".join(one.name for one in points.all_points() if one.tracking == "container")


ALL = {
    "driver": Needs(),
    "experiment": Needs(programs=(("gnuplot", "gnuplot-nox"),),
                        defaults={"points": _container_points()}),
    "failures": _moves("mdma-failures"),
    "migrate": _moves("mdma-proof", tracking=("container", LAB_MODULES)),
    "selftests": Needs(
        guests=0, beside=1536, traces=("mdma-selftest", "unmap-selftest", "intx-selftest"),
        ledger=True, root="unload modules, trace, mount and use the hooks in debugfs",
        only={"backend": ("ours", "exchanges modules of the kernel's own"),
              "deadly": ("0", "kills a host")},
        defaults={"backend": "ours"},
        files=("proc/sys/vm/nr_hugepages", "sys/kernel/debug/sched/preempt",
               "sys/kernel/tracing/options/record-cmd", "sys/kernel/tracing/set_event_pid",
               "sys/kernel/tracing/events/mmap_lock/mmap_lock_start_locking/enable",
               "sys/fs/cgroup/cgroup.subtree_control", *FAULTS),
        places=("tmp/mdma-selftest-cgroup", "tmp/mdma-selftest-slow-file")),
}


def of(name):
    """What a scenario needs; a UsageError if it can't run on a host."""
    if name not in ALL:
        raise say.UsageError(f"--here: {name} runs in the lab only; without one: "
                             f"{', '.join(ALL)}")
    return ALL[name]


def check(name, given):
    """Refuse settings that only the lab can have."""
    for key, (value, why) in of(name).only.items():
        if given.get(key, value) != value:
            raise say.UsageError(f"--here: {key}={given[key]} {why}; give {key}={value}, or leave "
                                 "out --here")
    if name == "experiment":
        _check_points(given["points"])


def _check_points(words):
    try:
        chosen = points.choose(words)
    except ValueError as error:
        raise say.UsageError(f"--here: {error}") from error
    for one in chosen:
        if one.tracking != "container":
            raise say.UsageError(f"--here: point {one.name} {LAB_MODULES}; choose others by "
                                 "points=, or leave out --here")
