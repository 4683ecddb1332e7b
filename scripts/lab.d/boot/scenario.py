# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios: their names, settings and mutants.

The host reads them, but never runs them: they run in the lab only.
"""

import ast
import re

from base import say, settings
from make import own_driver, own_qemu, paths, versions

# The path of a scenario in the lab.
PROGRAM = "/mdma/tests/scenarios/{}.py"

# Seconds that a scenario may take if it does not say so: for a hang that the watchdog does not see.
TIMEOUT = 7200

MUTANT = re.compile(r"\bmutant/([a-z0-9][a-z0-9-]*(?:/iommufd)?)/")

# What these settings must be with a container. A scenario without the first one knows type1 alone.
WITH_CONTAINER = {versions.TYPE1: {"container": "type1"},
                  versions.IOMMUFD: {"container": "iommufd", "tracking": "device"}}


def names():
    """Names of all scenarios."""
    return sorted(path.stem for path in paths.SCENARIOS.glob("*.py")
                  if not path.stem.startswith(("_", "test_")))


def source(name):
    """The scenario's text, or a UsageError that lists all scenarios."""
    if name not in names():
        known = ", ".join(names()) or "none"
        raise say.UsageError(f"no scenario {name}; there are: {known}")
    return (paths.SCENARIOS / f"{name}.py").read_text()


def _assigned(text, name):
    """The node that is assigned to a name at module level; None if there is none."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) \
                and any(getattr(target, "id", None) == name for target in node.targets):
            return node.value
    return None


def _value(name, what, **known):
    """What the scenario assigns to a name at module level, an expression that uses nothing but
    what is @known; None if it assigns nothing."""
    value = _assigned(source(name), what)
    if value is None:
        return None
    code = compile(ast.Expression(value), f"{what} of {name}", "eval")
    return eval(code, {"__builtins__": {}, **known})  # pylint: disable=eval-used


def keys(name):
    """The settings of a scenario: its KEYS."""
    return _value(name, "KEYS", settings=settings) or {}


def explained(name):
    """What a scenario does, and its settings, for people."""
    what = (ast.get_docstring(ast.parse(source(name))) or "").split("\nusage:")[0].strip()
    return "\n".join([what, "", "settings:", settings.explained(keys(name))])


def accelerator(name):
    """The accelerator that the scenario wants, from its ACCEL = "..."; or None."""
    return _value(name, "ACCEL")


def timeout(name):
    """Seconds that the scenario may take, from its TIMEOUT = ..., if it has one."""
    return _value(name, "TIMEOUT") or TIMEOUT


def guest_mb(name, given):
    """MiB of memory that the scenario's guest has with these settings; 0 if it has no guest."""
    known = keys(name)
    return int(given.get("mem_mb", known["mem_mb"].default)) if "mem_mb" in known else 0


def hosts(name):
    """How many labs the scenario needs, from its HOSTS = ...: 1 or 2."""
    return _value(name, "HOSTS") or 1


def pairs(name, words):
    """key=value words as a dictionary. Refuses what is wrong, before anything is built."""
    known = keys(name)
    try:
        given = settings.checked(known, words)
    except settings.BadSetting as error:
        raise say.UsageError(f"{name}: {error}") from error
    given = {**given, **_with_container(name, known, given), **_with_qemu(name, known, given),
             **_with_driver(known, given)}
    return {**given, **of_versions(name, given)}


def of_versions(name, given):
    """The settings that the chosen kernel and QEMU make other than their defaults."""
    if not versions.no_iommufd() or "compare" not in keys(name):
        return {}
    if "iommufd" in given.get("compare", "").split(","):
        raise say.UsageError(f"{name}: compare={given['compare']}: {versions.no_iommufd()}")
    return {} if "compare" in given else {"compare": "container"}


def _with_container(name, known, given):
    """The settings that CONTAINER= makes other than their defaults."""
    chosen, found = versions.container(), {}
    if "container" not in known and chosen != versions.TYPE1:
        can = ", ".join(other for other in names() if "container" in keys(other))
        raise say.UsageError(f"CONTAINER={chosen}: {name} knows type1 alone; {can} knows both")
    for key, value in WITH_CONTAINER[chosen].items():
        if key not in known:
            continue
        if given.get(key, value) != value:
            raise say.UsageError(f"{name}: {key}={given[key]}: with CONTAINER={chosen} it is "
                                 f"{value}")
        if value != known[key].default:
            found[key] = value
    return found


def _with_qemu(name, known, given):
    """The setting that a QEMU of the user's own makes."""
    build = versions.qemu_build()
    if not build:
        return {}
    if "qemu" not in known:
        can = ", ".join(other for other in names() if "qemu" in keys(other))
        raise say.UsageError(f"QEMU={build}: {name} runs no other QEMU than the image's; {can} "
                             "can")
    if "qemu" in given:
        raise say.UsageError(f"{name}: qemu={given['qemu']} and QEMU={build}")
    return {"qemu": own_qemu.IN_LAB}


def _with_driver(known, given):
    """The same driver by a path that is valid anywhere. Refuses what can't be a driver."""
    if "driver" not in known:
        return {}
    word = own_driver.absolute(given.get("driver", known["driver"].default))
    own_driver.read(word)
    return {"driver": word}


def _needs(name, given):
    """What a run of the scenario needs to have built: from its BUILDS = {...}, the entries whose
    condition holds. A condition is key=value words that must all be so, by default or as @given:
    as values, so that control=01 is control=1. The empty one always holds.

    An entry is a target or a group of targets (make/build.py), or a setting that names a mutant.
    """
    value = _assigned(source(name), "BUILDS")
    if value is None:
        return []
    known = keys(name)

    def holds(word):
        key, _, wanted = word.partition("=")
        now = given.get(key, known[key].default)
        return known[key].value(now) == known[key].value(wanted)

    return [what for what, condition in ast.literal_eval(value).items()
            if all(holds(word) for word in condition.split())]


def targets(name, given):
    """The targets that a run needs, besides the product."""
    known = keys(name)
    return [what for what in _needs(name, given) if what not in known]


def files(name, given):
    """The settings that name a file which only some runs need, this one among them."""
    known = keys(name)
    return [what for what in _needs(name, given) if what in known]


def container(given):
    """Who maps the guest's memory in a run with these settings."""
    return given.get("container", versions.TYPE1)


def driver(name, given):
    """The driver that a run needs besides ours; "" if it needs none."""
    known = keys(name)
    return given.get("driver", known["driver"].default) if "driver" in known else ""


def mutants(name, given):
    """The mutants that a run needs: those that @given settings name as mutant/NAME/..., and the
    defaults of the settings in BUILDS."""
    known = keys(name)
    values = [*given.values(), *(str(known[key].default) for key in _needs(name, given)
                                 if key in known and key not in given)]
    return sorted(set(MUTANT.findall("\n".join(values))))
