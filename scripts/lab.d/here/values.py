# SPDX-License-Identifier: GPL-2.0-only
"""The values of files of the kernel, by which it is set up: remembered, and written again."""

import re


class Values:
    """As they are when this is made. A file that there is not is left out."""

    def __init__(self, host, paths):
        self.host = host
        self.before = {path: host.text(path) for path in paths if (host.root / path).is_file()}

    def put_back(self):
        """Yields what could not be done, as sentences."""
        for path, before in self.before.items():
            now = self.host.text(path)
            word = _word(path, before, now)
            if now == before:
                continue
            try:
                (self.host.root / path).write_text(f"{word}\n")
            except OSError as error:
                yield f"/{path} refuses: {error.strerror}; `echo '{word}' >/{path}` later"


def _word(path, before, now):
    """What to write so that a file reads as before."""
    if path.endswith("subtree_control"):
        return " ".join(f"-{name}" for name in now.split() if name not in before.split())
    # Of a choice, the one in use is in parentheses.
    chosen = re.search(r"\((\w+)\)", before)
    return chosen[1] if chosen else before
