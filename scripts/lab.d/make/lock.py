# SPDX-License-Identifier: GPL-2.0-only
"""The lock file: the exact version of each package of the lab's images. `scripts/lab image-lock`
writes it, and LOCK= in the environment asks for an image with these versions.

A section for each image, by its name (versions.py); lines "package version". The package of the
kernel's source is among them, although it is not in the image's tree.
"""

import os
import re
from pathlib import Path

from base import files, say
from make import paths, versions

HEAD = "# Packages of the lab's images: made by \"make image-lock\", used by LOCK= (ci.rst).\n"
SECTION = re.compile(r"\[([\w.+-]+)\]")
LINE = re.compile(r"([a-z0-9][a-z0-9.+-]+) ([A-Za-z0-9][A-Za-z0-9.+~:-]*)")
# How apt says that there is no such version, or no such package at all.
GONE = re.compile(r"^E: (?:Version '(?P<version>.+?)' for '(?P<name>.+?)' was not found"
                  r"|Unable to locate package (?P<lost>\S+))", re.M)
NEWER = "make a newer lock by `make image-lock` (snapshot.debian.org alone keeps old versions)"
# The word: text of apt_preferences. A tree that begins as a copy may have newer versions.
PINS = """set -e; cd "$1/etc/apt"; mkdir -p preferences.d apt.conf.d
echo 'APT::Get::allow-downgrades "true";' >apt.conf.d/lock
printf "%%s" "%s" >preferences.d/lock"""


def installed(root):
    """name -> version of the packages of a tree."""
    found = {}
    for entry in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", entry, re.M))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def read(path):
    """image -> its packages, of a lock file."""
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text"
        raise say.UsageError(f"LOCK={path} can't be read: {why}; `scripts/lab image-lock` makes "
                             "one") from error
    found, section = {}, None
    for number, line in enumerate(lines, 1):
        head, pair = SECTION.fullmatch(line), LINE.fullmatch(line)
        if head:
            section = head[1]
            found.setdefault(section, {})
        elif pair and section is not None:
            found[section][pair[1]] = pair[2]
        elif line.strip() and not line.startswith("#"):
            raise say.UsageError(f"LOCK={path}, line {number}: 'package version' expected, below "
                                 "an [image]; make it again by `scripts/lab image-lock`")
    return found


def write(path, image, packages):
    """Put the section of an image into a lock file, and keep those of others."""
    sections = {**(read(path) if path.exists() else {}), image: packages}
    with files.whole(path) as temporary:
        temporary.write_text(HEAD + "".join(
            f"\n[{name}]\n" + "".join(f"{one} {version}\n" for one, version in sorted(all_.items()))
            for name, all_ in sorted(sections.items())))


def path_of(environment):
    """The lock file that the environment names, or None."""
    path = environment.get("LOCK")
    return Path(path).resolve() if path else None


def take_target():
    """The file that image-lock is to write. From now on it is not what an image is made by."""
    path = path_of(os.environ) or paths.OUT / "image.lock"
    os.environ.pop("LOCK", None)
    if path.exists() and not path.is_file():
        raise say.UsageError(f"LOCK={path} is no file: choose another place with LOCK=")
    return path


def section(these):
    """The versions that LOCK= asks for in the image of @these versions; empty without LOCK=, or if
    the file does not have that image."""
    path = path_of(os.environ)
    return read(path).get(versions.image(these), {}) if path else {}


def check():
    """Refuse a lock file that can't be read, or does not have the chosen image."""
    path = path_of(os.environ)
    if path and not section(versions.chosen()):
        raise say.UsageError(f"LOCK={files.short(path)} does not have the image "
                             f"{versions.image()}, only {', '.join(read(path)) or 'none'}: add it "
                             "by `scripts/lab image-lock` with the same KERNEL=, QEMU= and "
                             "LIBVIRT=")


def pins(these):
    """The script that makes apt prefer the locked versions of what it installs; empty without."""
    text = "\n".join(f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n"
                     for name, version in section(these).items())
    return PINS % text if text else ""


def exact(these):
    """What apt is to install: "name=version" of all that the tree has."""
    return tuple(f"{name}={version}" for name, version in section(these).items()
                 if name != these["KERNEL"].source)


def source(these):
    """The same for the package of the kernel's source; its name alone without a lock."""
    name = these["KERNEL"].source
    version = section(these).get(name)
    return f"{name}={version}" if version else name


def gone(text):
    """What apt said that it does not find, as words; empty if it found all."""
    found = [f"{match['name']} {match['version']}" if match["name"] else match["lost"]
             for match in GONE.finditer(text)]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


def explained(error):
    """The LabError to raise instead of one of apt's, if a version is gone from the archive."""
    text = error.log.read_text(errors="replace") if error.log and error.log.exists() else ""
    words = gone(text)
    if not words or not os.environ.get("LOCK"):
        return error
    better = say.LabError(f"LOCK={os.environ['LOCK']}: the archive no longer has {words}: {NEWER}; "
                          f"see {files.short(error.log)}")
    better.log = error.log
    return better


def verify(tree, these):
    """Refuse a tree that has other packages than the lock says."""
    wanted = {name: version for name, version in section(these).items()
              if name != these["KERNEL"].source}
    if not wanted:
        return
    found = installed(tree)
    wrong = [f"{name} {found.get(name, 'missing')}, not {wanted.get(name, 'in the lock')}"
             for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    if wrong:
        raise say.LabError(f"LOCK={os.environ['LOCK']}: the image has {wrong[0]}"
                           + (f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else "")
                           + f": {NEWER}")


def kernel_version(root, these):
    """The version of the kernel's package in a tree."""
    return installed(root)[these["KERNEL"].packages[0]]
