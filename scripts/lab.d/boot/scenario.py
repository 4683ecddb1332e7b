# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios: which there are, which settings and mutants each takes.

They are read, not run: they run in the lab only.
"""

import ast
import re

from base import say
from base.settings import not_among
from make import paths

PAIR = re.compile(r"([a-z][a-z0-9_]*)=(.*)", re.DOTALL)
NUMBER = re.compile(r"-?[0-9]+", re.ASCII)

MUTANT = re.compile(r"/mdma/mutant/([a-z0-9][a-z0-9-]*)")


def names():
    """Names of all scenarios."""
    return sorted(path.stem for path in paths.SCENARIOS.glob("*.py")
                  if not path.stem.startswith(("_", "test_")))


def source(name):
    """The scenario's text, or a UsageError that lists what there is."""
    if name not in names():
        known = ", ".join(names()) or "none"
        raise say.UsageError(f"no scenario {name}; there are: {known}")
    return (paths.SCENARIOS / f"{name}.py").read_text()


def _assigned(text, name):
    """What is assigned to a name at module level, as a node; None if nothing is."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) \
                and any(getattr(target, "id", None) == name for target in node.targets):
            return node.value
    return None


def keys(text):
    """Names of the settings, from a module-level KEYS = {...}; None if it has none."""
    value = _assigned(text, "KEYS")
    if not isinstance(value, ast.Dict):
        return None
    return [key.value for key in value.keys if isinstance(key, ast.Constant)]


def _literal(node):
    """The value of a literal; None for anything else."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def described(name):
    """Setting -> (default, or None if it is no literal; what it is), from a scenario's KEYS."""
    value = _assigned(source(name), "KEYS")
    if not isinstance(value, ast.Dict):
        return {}
    return {_literal(key): (_literal(entry.elts[0]), _literal(entry.elts[1]) or "")
            for key, entry in zip(value.keys, value.values) if isinstance(entry, ast.Tuple)}


def explained(name):
    """What a scenario does, and its settings with their defaults, for people."""
    what = (ast.get_docstring(ast.parse(source(name))) or "").split("\nusage:")[0].strip()
    lines = [f"  {key}={'' if default is None else default}\n        {text}"
             for key, (default, text) in described(name).items()]
    return "\n".join([what, "", "settings:", *lines])


def _constant(name, what):
    """The constant that a scenario assigns at module level; or None."""
    value = _assigned(source(name), what)
    return value.value if isinstance(value, ast.Constant) else None


def accelerator(name):
    """The accelerator that the scenario wants, from its ACCEL = "..."; or None."""
    return _constant(name, "ACCEL")


def timeout(name):
    """Seconds that the scenario may take, from its TIMEOUT = ...; or None."""
    return _constant(name, "TIMEOUT")


def hosts(name):
    """How many labs the scenario needs, from its HOSTS = ...: 1 or 2."""
    return _constant(name, "HOSTS") or 1


def choices(text):
    """Key -> what it can be, by comma, from a module-level CHOICES = {...}."""
    value = _assigned(text, "CHOICES")
    return {} if value is None else ast.literal_eval(value)


def settings(name, words):
    """key=value words as a dictionary, each key one that the scenario knows, and each value
    one that it allows, so that what is wrong is refused before anything is booted."""
    text = source(name)
    known = keys(text)
    allowed, defaults = choices(text), described(name)
    pairs = {}
    for word in words:
        found = PAIR.fullmatch(word)
        if not found:
            raise say.UsageError(f"{word}: key=value expected")
        key, value = found.groups()
        if known is not None and key not in known:
            raise say.UsageError(f"{name} has no setting {key}; "
                                 f"there are: {', '.join(known) or 'none'}")
        if key in pairs:
            raise say.UsageError(f"{key}: given twice")
        if "\n" in value:
            raise say.UsageError(f"{key}: a line break in its value")
        wrong = not_among(allowed[key], value) if key in allowed else None
        if wrong is not None:
            raise say.UsageError(f"{key}={wrong}: one of {allowed[key]} expected")
        if isinstance(defaults.get(key, ("",))[0], int) and not NUMBER.fullmatch(value):
            raise say.UsageError(f"{key}={value}: a number expected")
        pairs[key] = value
    return pairs


def mutants(name, pairs):
    """Mutants that the scenario or its settings name as /mdma/mutant/NAME;
    a scenario that just lists /mdma/mutant gets all of them."""
    text = "\n".join([source(name), *pairs.values()])
    found = set(MUTANT.findall(text))
    if not found and "/mdma/mutant" in text:
        found = {path.stem for path in paths.MUTANTS.glob("*.patch")}
    return sorted(found)
