# SPDX-License-Identifier: GPL-2.0-only
"""Settings of a scenario: key=value."""


def not_among(allowed, value):
    """The first word of a value that is none of those allowed, both by comma; or None."""
    return next((word for word in value.split(",") if word not in allowed.split(",")), None)
