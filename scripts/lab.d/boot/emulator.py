# SPDX-License-Identifier: GPL-2.0-only
"""The QEMU that emulates the lab: the image's own, with four defects of its SVM removed.

A VMRUN that injects an interrupt (helper_vmrun(), SVM_EVTINJ_TYPE_INTR) delivers it, and also
leaves its number in CPUState.exception_index, the field for an exception that is yet to be
delivered. If another thread asks the vCPU to leave its loop (cpu_exit()) before the next exception
or #VMEXIT, the interrupt is delivered again, with a return address of -1.

When any vCPU loads the x87 state, it clears a bit in the flags of the first vCPU
(cpu_clear_ignne(), hflags2), without an atomic operation or a lock. If the first vCPU makes a
#VMEXIT at the same time, HF2_NPT_MASK stays set there. That vCPU then walks the guest's page
tables for the lab's kernel, which causes a second #VMEXIT, and the state of the kernel is saved as
the guest's.

A VMRUN with a virtual interrupt sets CPU_INTERRUPT_VIRQ in CPUState.interrupt_request by a plain
OR, without the lock (BQL) under which other threads set bits there. An interrupt raised at the
same moment is lost until the next one. If it was the timer's, Linux never arms the timer again,
since it believes that the timer is armed. QEMU 11.1 has repaired that: cpu_set_interrupt().

When an exception has been delivered to the guest (do_interrupt_all()), its vector and type stay in
EVENTINJ without the valid bit, and the next #VMEXIT reports them in EXITINTINFO. KVM of 7.3 looks at
the type alone there (svm_check_emulate_instruction()). If that #VMEXIT is an access to MMIO, it ends
the guest with "KVM internal error. Suberror: 3".

All but the third defect sometimes kill the guest in the lab, or the lab itself. Documentation/lab.rst
says how to reproduce that. A copy of the program has all four removed: a no-op replaces the
instruction that stores the number, the function returns at once (the bit is never set where CR0.NE
is), the OR is atomic, and an event that was delivered leaves nothing. The QEMUs in the lab are those
of the package.
"""

import re
import struct

from base import files, say
from make import image, paths

WHERE, CALLS = "helper_vmrun", "do_interrupt_x86_hardirq"
RACES = "cpu_clear_ignne"
LEAVES = "do_interrupt_all"
# What sets a virtual interrupt where that is atomic already.
ATOMIC = "cpu_set_interrupt"
# The store is at most this many bytes before the call.
NEAR = 64
# mov %r32, disp32(%base). The base points to the x86 part of the CPU's state. The part that all
# targets have is before it, so the displacement is negative.
STORE = re.compile(rb"[\x41\x44\x45]?\x89[\x80-\x83\x85-\x8b\x8d-\x93\x95-\x9b\x9d-\xa3\xa5-\xab"
                   rb"\xad-\xb3\xb5-\xbb\xbd-\xbf](.{4})", re.DOTALL)
# orl $CPU_INTERRUPT_VIRQ, disp32(%base), with a displacement as above, and no REX prefix or
# anything that looks like one.
SETS = re.compile(rb"(?<![\x40-\x4f])\x81([\x88-\x8b\x8d-\x8f])(.{4})\x00\x01\x00\x00",
                  re.DOTALL)
# and $~SVM_EVTINJ_VALID, %r32
INVALIDATES = re.compile(rb"(?:\x25|\x81[\xe0-\xe7])(?=\xff\xff\xff\x7f)", re.DOTALL)
NOTHING = bytes(4)
FARTHEST = -0x8000
ENDBR64, RET = bytes.fromhex("f30f1efa"), b"\xc3"
NOPS = {2: bytes.fromhex("6690"), 6: bytes.fromhex("660f1f440000"),
        7: bytes.fromhex("0f1f8000000000")}

SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
DYNSYM, PROGBITS = 11, 1


class UnknownCode(Exception):
    """The program was not built like the known ones."""


def sections(data):
    """Section headers of an ELF file of 64 bits."""
    at, = struct.unpack_from("<Q", data, 0x28)
    count, = struct.unpack_from("<H", data, 0x3c)
    return [SECTION.unpack_from(data, at + i * SECTION.size) for i in range(count)]


def symbols(data, headers, *names):
    """(address, size) of each dynamic symbol."""
    table = next((header for header in headers if header[1] == DYNSYM), None)
    if not table:
        raise UnknownCode("no dynamic symbols")
    text = headers[table[6]][4]
    wanted, found = {name.encode() for name in names}, {}
    for at in range(table[4], table[4] + table[5], SYMBOL.size):
        name, _, _, _, value, size = SYMBOL.unpack_from(data, at)
        name = data[text + name:data.index(b"\0", text + name)]
        if name in wanted:
            found[name.decode()] = (value, size)
    if len(found) != len(names):
        raise UnknownCode(f"no {' or no '.join(sorted(set(names) - set(found)))}")
    return [found[name] for name in names]


def calls(code, address, callee):
    """Offsets of the calls of @callee in the code at @address."""
    return [i for i in range(len(code) - 4) if code[i] == 0xe8 and
            address + i + 5 + struct.unpack_from("<i", code, i + 1)[0] == callee]


def store(code, address, callee):
    """(offset, length) of the store in the code of WHERE."""
    found = calls(code, address, callee)
    if len(found) != 1:
        raise UnknownCode(f"{len(found)} calls of {CALLS} in {WHERE}")
    begin = max(0, found[0] - NEAR)
    stores = [match for match in STORE.finditer(code, begin, found[0])
              if FARTHEST <= struct.unpack("<i", match[1])[0] < 0]
    if len(stores) != 1:
        raise UnknownCode(f"{len(stores)} stores before the call of {CALLS}")
    return stores[0].start(), len(stores[0][0])


def atomic_or(code):
    """(offset, code) of the atomic OR in the code of WHERE. It changes only the byte that has the
    bit, which leaves room for the lock prefix."""
    sets = [match for match in SETS.finditer(code)
            if FARTHEST <= struct.unpack("<i", match[2])[0] < 0]
    if len(sets) != 1:
        raise UnknownCode(f"{len(sets)} places in {WHERE} where a virtual interrupt is set")
    modrm, displacement = sets[0].groups()
    byte = struct.pack("<i", struct.unpack("<i", displacement)[0] + 1)
    return sets[0].start(), b"\xf0\x80" + modrm + byte + b"\x01" + NOPS[2]


def event_mask(code):
    """Offset of the mask in the code of LEAVES by which an event becomes invalid."""
    found = list(INVALIDATES.finditer(code))
    if len(found) != 1:
        raise UnknownCode(f"{len(found)} places in {LEAVES} where an event becomes invalid")
    return found[0].end()


def place(headers, address):
    """Offset in the file of the byte at an address."""
    for _, kind, _, begin, offset, size, *_ in headers:
        if kind == PROGBITS and begin <= address < begin + size:
            return address - begin + offset
    raise UnknownCode(f"nothing at {address:#x}")


def is_atomic(data, headers, code, address):
    """Whether a virtual interrupt is set by a function that does it atomically."""
    try:
        (callee, _), = symbols(data, headers, ATOMIC)
    except UnknownCode:
        return False
    return bool(calls(code, address, callee))


def mended(data):
    """The program without the defects."""
    headers, new = sections(data), bytearray(data)
    (address, size), (callee, _), (races, _), (leaves, length) = symbols(
        data, headers, WHERE, CALLS, RACES, LEAVES)
    at = place(headers, leaves)
    at += event_mask(data[at:at + length])
    new[at:at + len(NOTHING)] = NOTHING
    begin = place(headers, address)
    code = data[begin:begin + size]
    at, length = store(code, address, callee)
    new[begin + at:begin + at + length] = NOPS[length]
    if not is_atomic(data, headers, code, address):
        at, atomic = atomic_or(code)
        new[begin + at:begin + at + len(atomic)] = atomic
    at = place(headers, races)
    at += len(ENDBR64) if data.startswith(ENDBR64, at) else 0
    new[at:at + 1] = RET
    return bytes(new)


def program():
    """The path of the lab's QEMU; makes it unless it is current."""
    original, copy = paths.ROOT / "usr/bin/qemu-system-x86_64", paths.LAB / "qemu-lab"
    try:
        data = mended(original.read_bytes())
    except UnknownCode as err:
        say.info(f"emulator: not repaired, since its code is not the known one: {err}. A guest "
                 "may sometimes die of that")
        return original
    with image.locked(paths.LAB, "its emulator"):
        if not copy.exists() or copy.read_bytes() != data:
            with files.whole(copy) as temporary:
                temporary.write_bytes(data)
                temporary.chmod(0o755)
    return copy
