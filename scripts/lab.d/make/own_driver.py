# SPDX-License-Identifier: GPL-2.0-only
"""A driver of the user's own: a directory with an adapter and what belongs to it.

The host reads the constants of the adapter without running it, builds the driver's modules by the
Kbuild beside it, and puts all of it into the payload:

  driver/NAME/files        the directory
  driver/NAME/main         its modules
  driver/NAME/control      the same of the control, if that is a patch
  driver/NAME/guest.cpio   what the guest gets besides its own initramfs, at /driver

The adapter itself runs in the lab (play/adapter.py). Documentation/your-driver.rst is for users.
"""

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path

from base import files, initramfs, say, settings
from make import build, image, mutant, paths, payload

ADAPTER = "adapter.py"
KBUILD = "Kbuild"
# Where the modules are built; the name of their directory in the build tree.
TREE = "driver"
# Another control than a patch of the driver: our type1 that forgets unpinned pages.
BACKEND = "backend"
FORGETS = "forget-unpinned"
# A name in a patch.
NAME = re.compile(r"^((?:---|\+\+\+) [^\t]+)\t.*")
# Who may find what the control does.
JUDGES = ("guest", "ram", "set")

# What the host reads of an adapter, and what it is by default. The lab reads the others.
CONSTANTS = {"MODULES": None, "KERNEL_FILES": {}, "CONTROL": "", "CAUGHT_BY": (), "WRITES": None}
FUNCTIONS = ("make_device", "remove_device")


@dataclass(frozen=True)
class Driver:
    """One driver.

    @word: how the user named it
    @home: its directory
    @constants: of its adapter
    """
    word: str
    home: Path
    constants: dict

    def __getitem__(self, name):
        return self.constants[name]

    @property
    def name(self):
        """The name of its directories below build and payload."""
        return settings.driver_place(self.word)

    @property
    def built(self):
        """Whether the lab builds its modules."""
        return (self.home / KBUILD).exists()


def _refuse(word, why):
    raise say.UsageError(f"DRIVER={word}: {why} (Documentation/your-driver.rst)")


def names():
    """Names of our own."""
    return sorted(path.parent.name for path in paths.DRIVERS.glob(f"*/{ADAPTER}"))


def absolute(word):
    """The same word, valid in any directory: the directory of a driver, or the name of one of
    ours."""
    if "/" not in word:
        return word
    path = Path(word).expanduser().resolve()
    return str(path.parent if path.is_file() else path)


# --- what is said before anything is built ------------------------------------


def _constants(word, text):
    """The constants of an adapter, and the names of its functions."""
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        _refuse(word, f"{ADAPTER}: line {error.lineno}: {error.msg}")
    found = dict(CONSTANTS)
    for node in body:
        name = getattr(node.targets[0], "id", None) if isinstance(node, ast.Assign) else None
        if name not in CONSTANTS:
            continue
        try:
            found[name] = ast.literal_eval(node.value)
        except ValueError:
            _refuse(word, f"{ADAPTER}: {name} must be written out, since the host reads it "
                          "without running the file")
    return found, {node.name for node in body if isinstance(node, ast.FunctionDef)}


def _check_control(driver):
    broken, caught = driver["CONTROL"], driver["CAUGHT_BY"]
    if not broken:
        return
    if broken != BACKEND and not (driver.home / broken).is_file():
        _refuse(driver.word, f"CONTROL is {broken}, which is neither '{BACKEND}' nor a patch "
                             f"beside {ADAPTER}")
    if broken != BACKEND and not driver.built:
        _refuse(driver.word, f"CONTROL is a patch, but there is no {KBUILD} to build it")
    if not caught or not set(caught) <= set(JUDGES):
        _refuse(driver.word, "CAUGHT_BY must name who finds what the control does, some of "
                             + ", ".join(JUDGES))
    if "set" in caught and not driver["WRITES"]:
        _refuse(driver.word, "CAUGHT_BY names 'set', which needs WRITES")


def _check_modules(driver):
    if not isinstance(driver["MODULES"], tuple):
        _refuse(driver.word, f"{ADAPTER} has no MODULES = (\"NAME.ko\", ...)")
    for name in driver["MODULES"]:
        if not driver.built and not (driver.home / name).is_file():
            _refuse(driver.word, f"no {name} beside {ADAPTER}, and no {KBUILD} to build it")


def _home(word):
    """The directory of this name or path."""
    if "/" not in word and word not in names():
        hint = f"./{word}" if Path(word).exists() else "its path, with a / in it"
        _refuse(word, f"no such driver in samples/drivers, which has {', '.join(names())}; for one "
                      f"of your own, give {hint}")
    home = Path(word) if "/" in word else paths.DRIVERS / word
    if not home.is_dir():
        _refuse(word, "no such directory; give that of your driver")
    if not (home / ADAPTER).is_file():
        _refuse(word, f"no {ADAPTER} in that directory; samples/drivers has examples")
    return home


def read(word):
    """The driver of this name or path; a UsageError says what is wrong with it."""
    home = _home(word)
    constants, functions = _constants(word, (home / ADAPTER).read_text())
    missing = [name for name in FUNCTIONS if name not in functions]
    if missing:
        _refuse(word, f"{ADAPTER} has no {missing[0]}()")
    driver = Driver(word, home, constants)
    _check_modules(driver)
    _check_control(driver)
    return driver


# --- building -----------------------------------------------------------------


def target(driver):
    """The target of its modules (build.py)."""
    sources = {f"{TREE}/{path.relative_to(driver.home)}": path
               for path in driver.home.rglob("*")
               if path.is_file() and (path.suffix in (".c", ".h", ".S")
                                      or path.name in (KBUILD, "Makefile"))}
    kernel = {f"{TREE}/{name}": paths.KERNEL_SOURCE / path
              for name, path in driver["KERNEL_FILES"].items()}
    absent = [path for path in kernel.values() if not path.is_file()]
    if absent:
        raise say.LabError(f"DRIVER={driver.word}: KERNEL_FILES: the lab has no {absent[0]}; put "
                           "the file beside the adapter")
    return build.Target(driver.name, (TREE,), build.KBUILD, driver["MODULES"],
                        {**sources, **kernel}, strict=False)


def control(driver):
    """The target of the control's modules: the same with the patch."""
    lines = (driver.home / driver["CONTROL"]).read_text().splitlines()
    # As for our own mutants; git adds lines of its own, diff a date to names, and what it breaks
    # is for people.
    begin = next((n for n, line in enumerate(lines) if line.startswith("--- a/")), len(lines))
    patch = "\n".join(["The driver: its control",
                       *(NAME.sub(r"\1", line) for line in lines[begin:]
                         if not line.startswith(("diff ", "index ")))])
    one = mutant.parse(patch, driver["CONTROL"])
    one.hunks = {f"{TREE}/{path}": hunks for path, hunks in one.hunks.items()}
    return replace(target(driver), name=f"{driver.name}-control", mutant=one)


def _put(made, place):
    for product in made.products:
        payload.copy(made.directory / product, place / product)


def _guest(driver, path):
    """Write the archive of what the guest gets."""
    archive, home = initramfs.Cpio(), driver.home / "guest"
    for file in sorted(home.rglob("*")):
        if file.is_file():
            archive.file(f"{TREE}/{file.relative_to(home)}", file.read_bytes(),
                         file.stat().st_mode & 0o777)
    with files.whole(path) as temporary:
        temporary.write_bytes(archive.bytes())


def make(word):
    """Build what is not current, and put it into the payload."""
    driver = read(word)
    place = paths.PAYLOAD / driver.name
    with image.locked(paths.BUILD / driver.name, f"building {word}",
                      ".driver.lock"):
        payload.mirror(driver.home, place / "files")
        for kind in ("main", "control"):
            (place / kind).mkdir(exist_ok=True)
        if not driver.built:
            for name in driver["MODULES"]:
                payload.copy(driver.home / name, place / "main" / name)
        else:
            _build(driver, place)
        _guest(driver, place / "guest.cpio")
    if driver["CONTROL"] == BACKEND:
        build.make_mutant(FORGETS)


def _build(driver, place):
    made = target(driver)
    build.build(made)
    _put(made, place / "main")
    if driver["CONTROL"] not in ("", BACKEND):
        broken = control(driver)
        build.build(broken)
        _put(broken, place / "control")
