# SPDX-License-Identifier: GPL-2.0-only
"""Opens the files in which a QEMU has its guest's RAM."""

import os
from contextlib import ExitStack
from pathlib import Path

from judge import memory_map, ram


def of_process(pid, monitor):
    """The RAM of a guest, as RamFiles. They stay when QEMU has ended.

    @pid:     of QEMU
    @monitor: returns QEMU's answer to a command of its monitor for people
    """
    where = memory_map.MemoryMap(monitor("info mtree -f"), monitor("info ramblock"))
    process, files = Path("/proc", str(pid)), []
    maps = (process / "maps").read_text()
    with ExitStack() as stack:
        for block in where.blocks:
            area, offset = memory_map.file_of(block, maps)
            descriptor = os.open(process / "map_files" / area, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            files.append((descriptor, offset))
        found = ram.RamFiles(where, files)
        stack.pop_all()
    return found
