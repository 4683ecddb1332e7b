# SPDX-License-Identifier: GPL-2.0-only
"""What can be learned from a lab that hangs, before it is ended: hang.txt in its results.

QEMU's monitor gives the registers of all vCPUs and their interrupt controllers; the host's kernel
says what each thread of QEMU waits for. Finally the lab's kernel gets an NMI and panics (vm.py
sets that up): it prints the stacks of all CPUs and of all blocked tasks, and all timers. That
output is not a finding of the run, so it moves from the console to hang.txt.
"""

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from base import process, qmp

NAME = "hang.txt"
# Words for the lab's kernel command line: an unknown NMI panics, and a panic prints timers (0x04),
# all CPUs (0x40) and blocked tasks (0x80).
KERNEL = ("unknown_nmi_panic", "panic_print=0xc4")

# Time limits in seconds of the monitor, the debugger, and the lab's kernel.
MONITOR_SECONDS, DEBUGGER_SECONDS, PANIC_SECONDS = 5, 30, 30
# An interrupt that a CPU lost is still in its APIC; a timer that is not armed has no count.
COMMANDS = ("info status", "info cpus", "info registers -a", "info lapic 0", "info lapic 1",
            "info irq")


def section(title, text):
    """One section of the file."""
    return f"=== {title} ===\n{text.rstrip()}\n\n"


def _read(path):
    """The text of a file of the host's kernel, or why it can't be read."""
    try:
        return path.read_text().strip()
    except OSError as error:
        return error.strerror


def threads(pid, proc="/proc"):
    """Each thread of QEMU: its name, its state and times, and what it waits for."""
    parts = []
    for task in sorted(Path(proc, str(pid), "task").glob("*"), key=lambda path: int(path.name)):
        stat = _read(task / "stat").rpartition(")")[2].split()
        state, user, system = (stat[0], stat[11], stat[12]) if len(stat) > 12 else "???"
        parts.append(f"thread {task.name} {_read(task / 'comm')}: state {state}, ticks {user} "
                     f"user {system} system, schedstat {_read(task / 'schedstat')}\n"
                     f"wchan {_read(task / 'wchan')}, syscall {_read(task / 'syscall')}\n"
                     f"{_read(task / 'stack')}\n")
    return "\n".join(parts)


def debugger(pid):
    """The user stacks of QEMU's threads, if there is a gdb."""
    gdb = shutil.which("gdb")
    if not gdb:
        return "no gdb"
    try:
        done = subprocess.run([gdb, "-p", str(pid), "-batch", "-ex", "set pagination off",
                               "-ex", "thread apply all backtrace"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=DEBUGGER_SECONDS, check=False,
                              preexec_fn=process.die_with_parent)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout


def ask(monitor):
    """The answers of QEMU's monitor, and whether the lab may still be running."""
    parts, running = [], False
    try:
        client = qmp.Qmp.over(monitor, MONITOR_SECONDS)
        for command in COMMANDS:
            answer = client.command("human-monitor-command", command_line=command)
            parts.append(section(f"QEMU: {command}", answer))
            running |= command == "info status" and "running" in answer
        if running:
            client.command("inject-nmi")
    except qmp.QmpError as error:
        parts.append(section("QEMU's monitor", str(error)))
    return "".join(parts), running


def panic(child, console, begin):
    """What the lab's kernel prints at the NMI; this text is removed from the console."""
    deadline = time.monotonic() + PANIC_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    # QEMU also writes to the console until it ends.
    process.stop(child)
    with suppress(FileNotFoundError), open(console, "r+b") as stream:
        stream.seek(begin)
        text = stream.read().decode(errors="replace")
        stream.truncate(begin)
        return text
    return ""


def keep(results, reason, child, monitor):
    """Write hang.txt and end the lab.

    @child:   its QEMU
    @monitor: our end of its monitor's socket
    """
    console, path = results / "console.txt", results / NAME
    begin = console.stat().st_size if console.exists() else 0
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"{reason}\n\n")
        stream.write(section("the host: threads of QEMU", threads(child.pid)))
        stream.flush()
        stream.write(section("the host: gdb", debugger(child.pid)))
        stream.flush()
        answers, running = ask(monitor)
        stream.write(answers)
        stream.flush()
        said = panic(child, console, begin) if running else "not asked: QEMU does not run it"
        stream.write(section("the lab's kernel, after an NMI", said or "nothing"))
    process.stop(child)
    return path
