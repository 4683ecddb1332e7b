# SPDX-License-Identifier: GPL-2.0-only
"""A scenario without the lab, on a host that has the modules. Runs there: looks first at what is
missing, and puts back what it has changed."""
