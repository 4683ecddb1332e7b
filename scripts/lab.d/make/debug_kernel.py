# SPDX-License-Identifier: GPL-2.0-only
"""The debug kernels: built from the same source as the backend, with tools that find what a test
alone does not see. DEBUG=1 has KASAN, lockdep, kmemleak and more (debug.config), DEBUG=kcsan has
KCSAN (kcsan.config), which excludes KASAN.

Each is built once for each version of its source and configuration, and kept under out/. In the lab
it uses the root disk of the usual kernel. Its modules are in the payload, in a directory of its name,
and init mounts them over the usual ones.
"""

import contextlib
from dataclasses import dataclass, replace

from base import initramfs, process, say
from make import build, chroot, image, paths, payload, small_kernel, versions

# Code that KCSAN sees, besides our modules: what calls them, and the trees and bitmaps of lib/ that
# work on their memory. The rest of the kernel is left out. Its own races would be thousands, and of
# the accesses that are watched, next to none would be of ours. For the model of weak memory it
# tells where its barriers are: a lock that our code takes is one.
WATCHED = "drivers/vfio drivers/vfio/% virt/lib"
WATCHED_OF_LIB = ("rbtree", "bitmap", "find_bit")
BARRIERS = "kernel kernel/locking kernel/rcu kernel/sched mm fs lib"
KCSAN = (f"KCSAN_SANITIZE=$(if $(filter {WATCHED},$(obj)),,n)",
         f"KCSAN_INSTRUMENT_BARRIERS=$(if $(filter {BARRIERS},$(obj)),y)",
         *(f"KCSAN_SANITIZE_{name}.o=y" for name in WATCHED_OF_LIB))


@dataclass(frozen=True)
class Debug:
    """One of the debug kernels.

    @kernel:  how it is built
    @options: words for its command line
    @modules: words for kbuild about our modules
    @calls:   how the names of functions begin that a module of ours calls if the tools see
              what it does
    """
    kernel: small_kernel.Kernel
    options: tuple
    modules: tuple
    calls: bytes

    @property
    def home(self):
        """Where it is built."""
        return self.kernel.home

    @property
    def name(self):
        """The name of its directories."""
        return self.home.name

    @property
    def stamp(self):
        """Says what the kernel was built from."""
        return self.home / "stamp"

    @property
    def image(self):
        """What QEMU boots."""
        return self.kernel.tree / "arch/x86/boot/bzImage"

    @property
    def initramfs(self):
        """And with that."""
        return self.home / "initramfs.cpio"


def _kernel(what, home, config, lines, variables=()):
    return small_kernel.Kernel(what, home, f"/mnt/{home.name}", (paths.LAB_D / "make" / config,),
                               lines, variables)


# Word of DEBUG= -> the kernel. KASAN prints every report, not only the first; and KCOV is to see our
# modules, the kernel itself is left out of it.
KERNELS = {
    "1": Debug(_kernel("the debug kernel", paths.DEBUG, "debug.config", 2900),
               ("kasan_multi_shot",), ("KCOV_INSTRUMENT=y",), b"__asan_"),
    "kcsan": Debug(_kernel("the kernel with KCSAN", paths.KCSAN, "kcsan.config", 1560, KCSAN),
                   (), (), b"__tsan_"),
}


# Another kernel that is booted like these, or none.
_instead = []


@contextlib.contextmanager
def booting(kernel):
    """Meanwhile, every boot uses this kernel."""
    _instead.append(kernel)
    try:
        yield
    finally:
        _instead.pop()


def chosen():
    """The debug kernel that DEBUG= asks for: every boot uses it. None if it asks for none."""
    return _instead[-1] if _instead else KERNELS.get(versions.debug())


def key(debug):
    """What decides what the kernel is: its source, the fragments, and how it is built."""
    return image.digest(image.recipe(), small_kernel.recipe(debug.kernel))


def unpack(kernel):
    """Unpack the whole source, except for most of its documentation. Another configuration of the
    same source is built in the same tree."""
    stamp = kernel.tree / ".unpacked"
    if stamp.exists() and stamp.read_text() == image.recipe():
        return
    chroot.remove(kernel.tree)
    kernel.tree.mkdir(parents=True)
    process.run(["tar", "-x", "-f", paths.LAB / image.SOURCE_ARCHIVE, "-C", kernel.tree,
                 "--strip-components=1", "--exclude=linux-source-*/Documentation/*/*"],
                kernel.log, "unpacking the kernel's source")
    stamp.write_text(image.recipe())


def make(debug):
    """Build it, unless it is there and current."""
    kernel = debug.kernel
    with image.locked(debug.home, kernel.what):
        if debug.stamp.exists() and debug.stamp.read_text() == key(debug) and debug.image.exists():
            return
        debug.stamp.unlink(missing_ok=True)
        with say.Step(f"{kernel.what}: source"):
            unpack(kernel)
            small_kernel.configure(kernel)
        small_kernel.compile_all(kernel, "once, 10 to 30 minutes")
        small_kernel.install_modules(kernel)
        debug.stamp.write_text(key(debug))


def _target(debug, base):
    """The same module as for the usual kernel, for the tools to see. Style and warnings are judged
    there."""
    argv = tuple(word.replace("{build}", f"{debug.kernel.mount}/tree") for word in base.argv
                 if word != build.WARNINGS)
    return replace(base, name=f"{debug.name}/{base.name}", argv=(*argv, *debug.modules),
                   strict=False, files={**base.files, "debug-kernel": key(debug)})


def check_seen(debug, modules):
    """Refuse modules that the tools do not see: they would find nothing."""
    for path in modules:
        if debug.calls not in path.read_bytes():
            raise say.LabError(f"{path}: {debug.kernel.what} does not see what it does: it calls no "
                               f"{debug.calls.decode()}...()")


def _build(debug, target):
    build.build(target)
    check_seen(debug, [target.directory / name for name in target.products])


def make_mutant(debug, name):
    """Build a mutant's module, and put it into the payload. All mutants of a module are built in one
    tree, so nothing is kept of the one before."""
    target = _target(debug, build.mutant(name))
    _build(debug, target)
    for product in target.products:
        payload.copy(target.directory / product,
                     paths.PAYLOAD / debug.name / "mutant" / name / product)


INSTALL = r"""
set -e
home=$1
shift
release=$(cat "$home/tree/include/config/kernel.release")
updates=$home/modules/lib/modules/$release/updates
rm -rf "$updates"
mkdir "$updates"
cp "$@" "$updates"
depmod -b "$home/modules" "$release"
"""


def _install(debug, targets):
    """Put all modules into the payload, ours in updates/."""
    products = [f"/mnt/build/{target.name}/{product}"
                for target in targets for product in target.products]
    chroot.run(["sh", "-c", INSTALL, "sh", debug.kernel.mount, *products],
               debug.home / "install.log", "installing our modules", binds=build.binds(),
               append=True)
    payload.mirror(debug.home / "modules/lib/modules", paths.PAYLOAD / debug.name / "modules")


def prepare(mutants=()):
    """Make everything that a boot of it needs, if one is asked for."""
    debug = chosen()
    if not debug:
        return
    make(debug)
    product = [_target(debug, build.TARGETS[name]) for name in ("vfio", "mdma")]
    others = [_target(debug, build.TARGETS[name]) for name in ("nic", "reports")]
    for target in product + others:
        _build(debug, target)
    for name in mutants:
        make_mutant(debug, name)
    with image.locked(debug.home, f"the modules of {debug.kernel.what}"):
        _install(debug, product)
        for target in others:
            build.publish(target)
        for name in ("reports", "mutant"):
            (paths.PAYLOAD / name).mkdir(exist_ok=True)
        initramfs.build(debug.initramfs, paths.ROOT, init=paths.LAB_D / "lab/initramfs-init")
