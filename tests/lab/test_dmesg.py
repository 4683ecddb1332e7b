# SPDX-License-Identifier: GPL-2.0-only
"""The scan of the kernel's log finds everything that it must, and nothing else."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from boot import job
from judge import dmesg, races

BAD = (
    "[   12.3] Out of memory: Killed process 227 (qemu-system-x86)",
    "[   12.3] WARNING: CPU: 1 PID: 234 at drivers/vfio/vfio_iommu_type1.c:1038 f+0x1/0x2",
    # As of 7.3; the second with CONFIG_DEBUG_BUGVERBOSE_DETAILED.
    "[   12.3] WARNING: drivers/vfio/vfio_iommu_type1.c:812 at vfio_unpin+0x1/0x2"
    " [vfio_iommu_type1], CPU#1: qemu/33",
    "[   12.3] WARNING: [!pin->count] pin_store.c:12 at pin_put+0x1/0x2 [mdma], CPU#0: mdma/7",
    "[   12.3] WARNING: at pin_put+0x1/0x2 [mdma], CPU#0: mdma/7",
    "[   12.3] WARNING: possible circular locking dependency detected",
    "[   12.3] WARNING: suspicious RCU usage",
    "[   12.3] kernel BUG at drivers/vfio/pin_store.c:12!",
    "[   12.3] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   12.3] BUG: sleeping function called from invalid context at mm/slab.h:300",
    "[   12.3] BUG: unable to handle page fault for address: ffffc90000000000",
    "[   12.3] BUG: scheduling while atomic: python3/77/0x00000002",
    "[   12.3] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "[   12.3] Oops: general protection fault, probably for non-canonical address",
    "[   12.3] Kernel panic - not syncing: Fatal exception",
    "[  242.1] INFO: task qemu:99 blocked for more than 120 seconds.",
    "[  242.1] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [qemu:99]",
    "[  242.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[  242.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[   12.3] Call Trace:",
    "[   12.3] refcount_t: underflow; use-after-free.",
    "[   12.3] BUG: KASAN: slab-use-after-free in pin_store_next+0x1/0x2 [vfio_iommu_type1]",
    "[   12.3] UBSAN: shift-out-of-bounds in drivers/vfio/dirty_report.c:50:2",
    "[   12.3] BUG: Bad page state in process qemu  pfn:12345",
    "[   12.3] BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:3",
    "[   12.3] BUG vfio_pin_leaf (Tainted: G    O): Objects remaining in vfio_pin_leaf",
    "[   12.3] INFO: trying to register non-static key.",
    "[   12.3] turning off the locking correctness validator.",
    "[   12.3] list_del corruption. prev->next should be ffff888000000000",
    "[   12.3] usercopy: Kernel memory exposure attempt detected from SLUB object",
    "[   12.3] kmemleak: Kernel memory leak detector disabled",
    "[   12.3] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    # From a guest with slub_debug=FZPU whose dmatest was stopped under load; see found.rst.
    "[   29.427558] [Poison overwritten] 0xffff888005b5450c-0xffff888005b5461b @offset=17676."
    " First byte 0xc2 instead of 0x6b",
    "[   29.428506] BUG kmalloc-4k (Tainted: G           OE     ): Object corrupt",
    "[   29.431000] FIX kmalloc-4k: Restoring Poison 0xffff888005b5450c-0xffff888005b5461b=0x6b",
    "[   29.4] BUG kmalloc-4k (Not tainted): Poison overwritten",
    "[   29.4] BUG kmalloc-8k (Tainted: G    B      OE     ): Left Redzone overwritten",
    "[   29.4] [Right Redzone overwritten] 0xffff888005b55000-0xffff888005b55007 @offset=20480."
    " First byte 0x0 instead of 0xcc",
    "[   29.4] BUG kmalloc-64 (Tainted: G           OE     ): Object already free",
    "[   29.4] BUG: Bad page map in process sh  pte:8000000005b54067 pmd:0123456",
    "[   29.4] pagealloc: memory corruption",
    "[   29.4] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 44s!",
    "[   29.4] irq 16: nobody cared (try booting with the \"irqpoll\" option)",
    "BUG: soft lockup - CPU#0 stuck for 85s! [dma0chan0-copy0:99]",
)

# A report of KCSAN about the kernel's own code, and what makes it one about ours.
FOREIGN = """\
==================================================================
BUG: KCSAN: data-race in vfio_group_put / vfio_group_get

write to 0xffff888005b54508 of 4 bytes by task 227 on cpu 1:
 vfio_group_put+0x21/0x40 [vfio]
 __do_sys_close+0x7e/0x90

read (marked) to 0xffff888005b54508 of 4 bytes by task 228 on cpu 0:
 vfio_group_get+0x17/0x50 [vfio]
 do_syscall_64+0x4c/0x130

value changed: 0x00000001 -> 0x00000002

Reported by Kernel Concurrency Sanitizer on:
CPU: 0 UID: 0 PID: 228 Comm: mdma Tainted: G           O       6.12.118 #1
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009)
==================================================================
"""
CALLER = FOREIGN.replace(" __do_sys_close", " mdma_close_device+0x1/0x2 [mdma]\n __do_sys_close")
FIRST = "BUG: KCSAN: data-race in vfio_group_put / vfio_group_get"

GOOD = (
    "[    0.0] Linux version 6.12.0 (debian-kernel@lists.debian.org)",
    "[    1.2] vfio_iommu_type1: loading out-of-tree module taints kernel.",
    "[    1.2] mdma: module verification failed: signature and/or required key missing",
    "[    1.2] clocksource: Marking clocksource 'tsc' as unstable",
    "[    1.2] random: crng init done",
    "[    1.2] systemd[1]: Detected virtualization qemu.",
    "[    1.2] Warning: unable to open an initial console.",
    "[    1.2] sched_clock: Marking stable (1200, 34)->(1300, -20)",
    "[    0.1] WARNING: the clock was at 12:30 at boot",
    "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled",
    "[    0.1] rcu: Hierarchical RCU implementation.",
    "[    0.1] rcu: \tRCU CPU stall warnings timeout set to 120 (rcu_cpu_stall_timeout).",
    "[    0.1] Booting paravirtualized kernel on bare hardware",
    "[    0.1] BUGs: none",
    "[   52.4] kmemleak: Kernel memory leak detector initialized (mem pool available: 62773)",
    "[   80.1] kmemleak: Cannot allocate a scan area, scanning the full object",
    "[    2.1] dmatest: dma0chan0-copy0: summary 5 tests, 0 failures 83.31 iops 366 KB/s (0)",
    "[    0.1] DEBUG_RODATA: marked read-only",
    "[    0.1] x86: DEBUG: no such option",
    "[    0.1] SLUB: HWalign=64, Order=0-3, MinObjects=0, CPUs=1, Nodes=1",
    "[    0.1] ACPI: PCI: Interrupt link LNKA configured for IRQ 10",
)


class Dmesg(unittest.TestCase):
    """Each line alone."""

    def test_bad_lines_are_found(self):
        """A line that reports a defect is found, once."""
        for line in BAD:
            with self.subTest(line=line):
                self.assertEqual([found for _, found in dmesg.scan(line)], [line])

    def test_good_lines_are_not(self):
        """Ordinary lines are ignored, also those that name a warning."""
        for line in GOOD:
            with self.subTest(line=line):
                self.assertEqual(dmesg.scan(line), [])

    def test_grep_finds_the_same(self):
        """The guest checks the list by grep."""
        with tempfile.TemporaryDirectory() as directory:
            patterns = Path(directory, "patterns")
            patterns.write_text(dmesg.for_grep())
            found = subprocess.run(["grep", "-E", "-f", patterns],
                                   input="".join(f"{line}\n" for line in BAD + GOOD),
                                   capture_output=True, text=True, check=False)
        self.assertEqual(found.stdout.splitlines(), list(BAD))
        self.assertEqual(found.stderr, "")

    def test_no_pattern_says_what_grep_does_not_know(self):
        """No pattern has what only Python knows, or what grep reads differently: an escape, a
        lookahead, a lazy match."""
        for name, pattern in dmesg.PATTERNS.items():
            self.assertNotRegex(pattern, r"\\|\(\?|[*+?}]\?", name)

    def test_every_pattern_is_tested(self):
        """A new pattern needs a line here."""
        names = {name for line in BAD for name, _ in dmesg.scan(line)}
        lines = "\n".join(BAD)
        for name, pattern in dmesg.COMPILED.items():
            self.assertTrue(name in names or pattern.search(lines), name)

    def test_trace_that_is_no_defect(self):
        """The trace that follows a message of mm is none; the next trace is."""
        said = ("FAULT_FLAG_ALLOW_RETRY missing 881\nCPU: 0 UID: 0 PID: 648 Comm: mdma\n"
                "Tainted: [O]=OOT_MODULE\nCall Trace:\n <TASK>\n f+0x1/0x2\n </TASK>\n")
        self.assertEqual(dmesg.scan(said + said), [])
        self.assertEqual(dmesg.scan(said + "Call Trace:\n"), [("call trace", "Call Trace:")])
        self.assertEqual(dmesg.scan(said.replace("CPU: 0", "BUG: x"))[0][0], "bug")

    def test_warning_of_vfio(self):
        """That of a group that could not be made is no defect; what else is in it is."""
        said = ("[ 1.0] WARNING: CPU: 1 PID: 157 at drivers/vfio/group.c:538 "
                "vfio_group_release+0xc3/0xe0 [vfio]\n[ 1.0] Modules linked in: mdma(O)\n"
                "[ 1.0] RIP: 0010:vfio_group_release+0xc3/0xe0\n[ 1.0] R: 1\n[ 1.0] R: 2\n"
                "[ 1.0] Call Trace:\n[ 1.0]  <TASK>\n[ 1.0] ---[ end trace 0000000000000000 ]---\n")
        self.assertEqual(dmesg.scan(said + said), [])
        self.assertEqual(len(dmesg.scan(said + "Call Trace:\n")), 1)
        self.assertEqual(len(dmesg.scan(said.replace("R: 1", "BUG: x"))), 1)
        self.assertEqual(len(dmesg.scan(said.replace("vfio_group_release", "mdma_release"))), 2)

    def test_killed_for_want_of_memory(self):
        """In a control group it is no defect; of the whole machine it is."""
        said = ("kills invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
                "CPU: 0 UID: 0 PID: 227 Comm: kills\nTainted: [O]=OOT_MODULE\n"
                "Hardware name: QEMU\nCall Trace:\n <TASK>\n dump_stack_lvl+0x5d/0x80\n")
        group = said + "Memory cgroup out of memory: Killed process 227 (kills)\n"
        self.assertEqual(dmesg.scan(group), [])
        machine = said + "Out of memory: Killed process 227 (kills)\n"
        self.assertEqual([name for name, _ in dmesg.scan(machine)], ["no memory"])

    def test_thread_without_a_stack(self):
        """An allocation that was made to fail: the trace is none of a defect."""
        said = ("failing_device: vmalloc error: size 16384, vm_struct allocation failed, mode:0xdc0"
                "(GFP_KERNEL|__GFP_ZERO), nodemask=(null),cpuset=/,mems_allowed=0\n"
                "CPU: 1 UID: 0 PID: 99 Comm: failing_device\nTainted: [O]=OOT_MODULE\n"
                "Hardware name: QEMU\nCall Trace:\n <TASK>\n warn_alloc+0x1/0x2\n")
        self.assertEqual(dmesg.scan(said), [])

    def test_lockups(self):
        """They are what blame.py takes for a kernel that got no CPU time."""
        for line in BAD:
            if "lockup" in line:
                self.assertEqual([name for name, _ in dmesg.scan(line)], ["lockup"], line)

    def test_starved(self):
        """Stalls, and want of memory, unless a function of ours is in the log."""
        self.assertTrue(dmesg.starved(["rcu stall", "no memory"], "f+0x1/0x2 [kvm]"))
        self.assertFalse(dmesg.starved(["rcu stall"], "f+0x1/0x2 [mdma]"))
        self.assertFalse(dmesg.starved(["rcu stall", "warning"], ""))
        self.assertFalse(dmesg.starved(["call trace"], ""))
        self.assertFalse(dmesg.starved([], ""))

    def test_same_line_in_two_files_counts_once(self):
        """The console has the same lines as dmesg, with another time."""
        with tempfile.TemporaryDirectory() as directory:
            one, two = Path(directory, "dmesg.txt"), Path(directory, "console.txt")
            one.write_text("[    1.000] Call Trace:\n")
            two.write_text("[    1.003] Call Trace:\nnothing\n")
            found = dmesg.scan_files([one, two, Path(directory, "absent")])
        self.assertEqual(len(found), 1)


class Races(unittest.TestCase):
    """Reports of KCSAN."""

    def test_foreign(self):
        """A race of the kernel's own is counted, and is no finding; the next lines are judged."""
        self.assertEqual(dmesg.scan(FOREIGN * 2), [])
        self.assertEqual(races.foreign([FOREIGN, FOREIGN * 3, ""]),
                         {"data-race in vfio_group_put / vfio_group_get": 3})
        self.assertEqual(dmesg.scan(FOREIGN + "Call Trace:\n"), [("call trace", "Call Trace:")])

    def test_shown(self):
        """Those of the kernel's own are left in a file, and told; if there are none, neither."""
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(job.say, "info") as said:
            console, log = Path(directory, "console.txt"), Path(directory, "dmesg.txt")
            console.write_text(CALLER)
            job.leave_foreign([console, log], Path(directory))
            self.assertFalse(said.called or Path(directory, job.FOREIGN).exists())
            log.write_text(FOREIGN * 2)
            job.leave_foreign([console, log], Path(directory))
            self.assertEqual(Path(directory, job.FOREIGN).read_text(),
                             "     2 data-race in vfio_group_put / vfio_group_get\n")
            self.assertIn("2 reports of 1 races of the kernel's own", said.call_args[0][0])

    def test_ours(self):
        """One with a function of ours on either side, be it only as a caller, is a finding."""
        for module in ("mdma", "vfio_iommu_type1", "mdma_nic"):
            for old in ("vfio_group_put / ", "+0x21/0x40 [vfio]", "+0x17/0x50 [vfio]"):
                text = FOREIGN.replace(old, old.replace(" / ", f" [{module}] / ")
                                       .replace("[vfio]", f"[{module}]"), 1)
                (what, line), = dmesg.scan(text)
                self.assertEqual(what, "sanitizer")
                self.assertTrue(line.startswith("BUG: KCSAN: data-race in vfio_group_put"))
        self.assertEqual(dmesg.scan(CALLER), [("sanitizer", FIRST)])
        self.assertFalse(races.foreign([CALLER]))

    def test_each_by_itself(self):
        """One about our code does not make the next one such, nor the other way round."""
        self.assertEqual(dmesg.scan(CALLER + FOREIGN + CALLER), [("sanitizer", FIRST)] * 2)
        self.assertEqual(races.foreign([CALLER + FOREIGN + CALLER]).total(), 1)

    def test_cut(self):
        """Nobody knows what a report is about that the log ends in, or another one cuts off."""
        half = FOREIGN.partition("value changed")[0]
        self.assertEqual(dmesg.scan(half), [("sanitizer", FIRST)])
        self.assertEqual(dmesg.scan(half + FOREIGN), [("sanitizer", FIRST)])
        self.assertEqual(races.foreign([half + FOREIGN]).total(), 1)
        self.assertEqual(dmesg.scan(half + CALLER), [("sanitizer", FIRST)] * 2)

    def test_in_between(self):
        """Another CPU's line in a report of the kernel's own is judged as ever."""
        text = FOREIGN.replace("value changed", "WARNING: CPU: 1 PID: 7 at f\nvalue changed")
        self.assertEqual(dmesg.scan(text), [("warning", "WARNING: CPU: 1 PID: 7 at f")])

    def test_in_pieces(self):
        """A log that is read in two pieces."""
        for text, wanted in ((FOREIGN, 0), (CALLER, 1)):
            lines = text.splitlines()
            for cut in range(len(lines)):
                one = dmesg.Scan()
                found = [one.line(line) for line in lines[:cut]]
                found += [one.line(line) for line in lines[cut:]] + [one.end()]
                self.assertEqual(len(list(filter(None, found))), wanted)


if __name__ == "__main__":
    unittest.main()
