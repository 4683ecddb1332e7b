# SPDX-License-Identifier: GPL-2.0-only
"""Presets of the workload: files of attributes, one "name=value" a line."""

from base import say, site

DIRECTORY = site.TREE / "samples/vfio-mdev/mdma/workloads"


def names():
    """Names of all presets."""
    return sorted(path.name for path in DIRECTORY.iterdir())


def read(name):
    """Attribute -> value, as text, in the order of the file."""
    if name not in names():
        raise say.LabError(f"no workload {name}; there are: {', '.join(names())}")
    preset = {}
    for line in (DIRECTORY / name).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or key in preset:
            raise say.LabError(f"workload {name}: '{line}'")
        preset[key] = value
    return preset
