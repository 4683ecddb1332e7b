# SPDX-License-Identifier: GPL-2.0-only
"""The distribution's kernel, unpacked.

A kernel that unpacks itself under emulation takes a third of the instructions of its boot for
that. QEMU loads the ELF file that is packed in it as well, by the entry that Xen's PVH defines.

Not for a guest that is suspended to RAM: waking is a reset, at which QEMU loads the file again,
over the kernel that sleeps.
"""

import gzip
import lzma
import struct
import subprocess

from base import process, say
from make import chroot

ELF, GZIP, XZ, ZSTD = b"\x7fELF", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"

# Offsets in a bzImage, see Documentation/arch/x86/boot.rst of the kernel.
SETUP_SECTS, MAGIC, PAYLOAD = 0x1f1, 0x202, 0x248
SECTOR = 512

# Runs in the tree: the host's Python need not know Zstandard, but dpkg has its library. Standard
# input is the packed kernel, the argument its size when unpacked.
UNPACK = """
import ctypes, sys
data, size = sys.stdin.buffer.read(), int(sys.argv[1])
library = ctypes.CDLL("libzstd.so.1")
library.ZSTD_decompress.restype = ctypes.c_size_t
target = ctypes.create_string_buffer(size)
if library.ZSTD_decompress(target, ctypes.c_size_t(size), data,
                           ctypes.c_size_t(len(data))) != size:
    sys.exit("not what its size says")
sys.stdout.buffer.write(target.raw)
"""


def payload(data):
    """The packed kernel in a bzImage, and its size when unpacked, which the kernel's build appends
    to it. gzip's own format ends with the size."""
    if data[MAGIC:MAGIC + 4] != b"HdrS":
        raise say.LabError("the kernel is no bzImage")
    begin, length = struct.unpack_from("<II", data, PAYLOAD)
    begin += ((data[SETUP_SECTS] or 4) + 1) * SECTOR
    packed = data[begin:begin + length]
    if length < 4 or len(packed) != length:
        raise say.LabError("the kernel ends too early")
    size, = struct.unpack("<I", packed[-4:])
    return (packed if packed.startswith(GZIP) else packed[:-4]), size


def _by_library(packed, size):
    words = chroot.command(["python3", "-c", UNPACK, str(size)])
    done = subprocess.run(words, input=packed, capture_output=True, check=False,
                          env=process.ENVIRONMENT)
    if done.returncode:
        raise say.LabError("unpacking the kernel: "
                           f"{done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def of(data):
    """The ELF file in a bzImage."""
    packed, size = payload(data)
    if packed.startswith(GZIP):
        found = gzip.decompress(packed)
    elif packed.startswith(XZ):
        found = lzma.decompress(packed)
    elif packed.startswith(ZSTD):
        found = _by_library(packed, size)
    else:
        raise say.LabError(f"the kernel is packed in an unknown way: {packed[:4].hex()}")
    if len(found) != size or not found.startswith(ELF):
        raise say.LabError("what was packed in the kernel is no ELF file")
    return found
