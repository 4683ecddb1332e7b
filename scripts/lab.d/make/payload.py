# SPDX-License-Identifier: GPL-2.0-only
"""What the lab VM sees at /mdma; brought up to date before every boot."""

import filecmp
import shutil

from base import files
from make import chroot, image, paths

# The parts of scripts/lab.d that run in the lab.
IN_LAB = ("base", "judge", "show", "play", "lab")
COMPILED = "__pycache__"
SKIP = shutil.ignore_patterns(COMPILED, "*.pyc", "*.o", ".*")


def mirror(source, target, names=None):
    """Make target an exact copy of source, or of its entries @names; touch only what differs."""
    target.mkdir(parents=True, exist_ok=True)
    if names is None and source.is_dir():
        names = [path.name for path in source.iterdir()]
        names = sorted(set(names) - set(SKIP(str(source), names)))
    names = names or ()
    for path in target.iterdir():
        if path.name not in (*names, COMPILED):
            _remove(path)
    for name in names:
        one, other = source / name, target / name
        if one.is_dir():
            if other.exists() and not other.is_dir():
                other.unlink()
            mirror(one, other)
        else:
            copy(one, other)


def copy(source, target):
    """Copy a file unless the same is there. It is replaced in one step, so that a reader never
    sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    mode = source.stat().st_mode
    if (target.exists() and target.stat().st_mode == mode
            and filecmp.cmp(source, target, shallow=False)):
        return
    with files.whole(target) as temporary:
        shutil.copy2(source, temporary)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def in_payload(path):
    """The place of a file or directory of the tree in the payload: the same path."""
    return paths.PAYLOAD / path.relative_to(paths.REPO)


def update():
    """Bring up to date what comes from the working tree as it is."""
    with image.locked(paths.BUILD, "putting it together"):
        _update()


def _update():
    # Scenarios type the commands of the documentation; the files these name are where it says.
    documentation = paths.REPO / "Documentation"
    for directory in (paths.SCENARIOS, paths.WORKLOADS, paths.LIBVIRT, paths.CORPUS, documentation):
        mirror(directory, in_payload(directory))
    mirror(paths.LAB_D, in_payload(paths.LAB_D), IN_LAB)
    mdma_trace = paths.REPO / "scripts/mdma-trace"
    copy(mdma_trace, in_payload(mdma_trace))
    _compile()


def _compile():
    """Compile Python modules by the image's Python, since an emulated CPU takes seconds for it. With
    hashes of the sources: what was changed since is compiled in the lab, each time."""
    modules = in_payload(paths.LAB_D)
    stamp = paths.BUILD / "python.stamp"
    wanted = image.digest(image.recipe(), *(path.read_bytes()
                                            for path in sorted(modules.rglob("*.py"))))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    chroot.run(["python3", "-m", "compileall", "-q", "--invalidation-mode", "checked-hash",
                "/mnt/modules"], paths.BUILD / "python.log", "compiling Python modules",
               binds={"modules": modules})
    stamp.write_text(wanted)
