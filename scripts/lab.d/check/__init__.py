# SPDX-License-Identifier: GPL-2.0-only
"""All tests: the parts of a check and whose fault a failure is, style, mutants, the series of
patches. Runs on the host, on top of all other packages."""
