# SPDX-License-Identifier: GPL-2.0-only
"""The part "rules" of a check: the table of the rules, from what the parts "unit", "selftests"
and "deadly" have left."""

import json

from base import files, ktap
from judge import rules
from make import paths

DOCUMENTATION = paths.REPO / "Documentation"


def left(*patterns):
    """Results that other parts of the check have left."""
    results = []
    for pattern in patterns:
        for path in sorted(paths.CHECK.glob(pattern)):
            results += ktap.parse(path.read_text(errors="replace"), path.stem)
    return results


def check():
    """Judge, print and write the table."""
    ours = left("unit.ktap", "selftests/ours/*.ktap")
    stock = left("selftests/stock/*.ktap", "deadly.ktap")
    if not ours or not stock:
        return [ktap.Result("rules", ktap.FAILED, "the parts unit and selftests come first")]
    lines = rules.table(ours, stock, *rules.documented(DOCUMENTATION))
    path = paths.CHECK / "rules.json"
    path.write_text(json.dumps(rules.as_json(lines), indent=1) + "\n")
    print(rules.as_text(lines))
    print(f"the tests of each: {files.short(path)}", flush=True)
    return rules.verdicts(lines)
