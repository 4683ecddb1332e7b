# SPDX-License-Identifier: GPL-2.0-only
"""Places in C at which one small change, made by rule, should break a test.

Works on tokens, not on a parse: kernel style says enough about where a function, a statement and a
condition begin and end. The name of a change does not depend on line numbers: it consists of the
function, the rule, and a count of the rule's places within the function.
"""

import re
from dataclasses import dataclass

TOKEN = re.compile(r"""
    (?P<space>\s+|/\*.*?\*/|//[^\n]*)
  | (?P<directive>(?<![^\n])\#(?:\\\n|[^\n])*)
  | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<number>\d\w*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign>->|\+\+|--|<<=|>>=|<<|>>|[<>=!+\-*/%&|^]=
            |&&|\|\||\.\.\.|.)
""", re.VERBOSE | re.DOTALL)
PAIRS = {"(": ")", "[": "]", "{": "}"}
NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|0|[1-9]\d*)([uUlL]*)")

SWAPPED = {"<": ("border", "<="), "<=": ("border", "<"), ">": ("border", ">="),
           ">=": ("border", ">"), "==": ("equal", "!="), "!=": ("equal", "=="),
           "&&": ("logic", "||"), "||": ("logic", "&&")}
ASSIGNS = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}
KEYWORDS = {"if", "else", "while", "for", "do", "switch", "case", "default", "return", "goto",
            "break", "continue", "sizeof"}
# Calls that change nothing that a test could see: the log, checks, hints.
SILENT = re.compile(r"pr_\w+|dev_\w+|lockdep_\w+|might_\w+|cond_resched|WARN\w*|BUILD_BUG\w*|"
                    r"BUG_ON|trace_\w+|mutex_destroy|prefetch\w*|MODULE_\w+|DEFINE_\w+|"
                    r"LIST_HEAD|va_end")
# What takes a lock -> what lets go of it.
LOCKS = {"mutex_lock": "mutex_unlock", "spin_lock": "spin_unlock",
         "spin_lock_irq": "spin_unlock_irq", "spin_lock_irqsave": "spin_unlock_irqrestore",
         "down_read": "up_read", "down_write": "up_write", "mmap_read_lock": "mmap_read_unlock",
         "rcu_read_lock": "rcu_read_unlock", "xa_lock": "xa_unlock",
         "srcu_read_lock": "srcu_read_unlock"}
UNLOCKS = set(LOCKS.values())
# Return type -> what is returned instead of 0.
WRONG = {"int": "-EINVAL", "ssize_t": "-EINVAL", "long": "-EINVAL"}


@dataclass(frozen=True)
class Token:
    """@kind: name of a group of TOKEN; @text, @begin: what, and where in the file"""
    kind: str
    text: str
    begin: int

    @property
    def end(self):
        """One past its last character."""
        return self.begin + len(self.text)


@dataclass(frozen=True)
class Change:
    """@edits: (begin, end, new text) for each piece of the file that changes, in order"""
    function: str
    rule: str
    index: int
    edits: tuple

    def apply(self, text):
        """The file after the change."""
        for begin, end, new in reversed(self.edits):
            text = text[:begin] + new + text[end:]
        return text


def tokens(text):
    """All tokens that are no white space, comment or directive."""
    found = (Token(match.lastgroup, match[0], match.start()) for match in TOKEN.finditer(text))
    return [token for token in found if token.kind not in ("space", "directive")]


def _match(found, at):
    """Index of the bracket that closes the one at @at."""
    depth = 0
    for index in range(at, len(found)):
        depth += found[index].text in PAIRS
        depth -= found[index].text in PAIRS.values()
        if not depth:
            return index
    return len(found) - 1


def functions(text):
    """(name, return type, tokens of the body with both braces) of each function."""
    found, at = tokens(text), 0
    while at < len(found):
        if found[at].text == "(" and at and found[at - 1].kind == "word":
            end = _match(found, at)
            brace = found[end + 1] if end + 1 < len(found) else None
            if brace and brace.text == "{" and text[brace.begin - 1] == "\n":
                last = _match(found, end + 1)
                before = found[at - 2].text if at > 1 else ""
                yield found[at - 1].text, before, found[end + 1:last + 1]
                at = last + 1
                continue
        at = _match(found, at) + 1 if found[at].text in PAIRS else at + 1


def _statements(body):
    """(first, index of the semicolon) of each simple statement in a body."""
    at, begin = 1, 1
    while at < len(body):
        text = body[at].text
        if text in ("{", "}", "else", "do"):
            begin = at + 1
        elif text in ("if", "while", "for", "switch") or "for_each" in text:
            at = _match(body, at + 1)
            begin = at + 1
        elif text == ":" and (body[begin].text in ("case", "default") or at == begin + 1):
            begin = at + 1
        elif text in PAIRS:
            at = _match(body, at)
        elif text == ";":
            if at > begin:
                yield begin, at
            begin = at + 1
        at += 1


def _top(body, begin, end):
    """Indices of the tokens of a statement that are in no bracket."""
    at = begin
    while at < end:
        yield at
        at = _match(body, at) + 1 if body[at].text in PAIRS else at + 1


def _is_call(body, begin, end):
    return body[begin].kind == "word" and body[begin].text not in KEYWORDS \
        and body[begin + 1].text == "(" and _match(body, begin + 1) == end - 1


def _is_assignment(body, begin, end):
    """Not a declaration: nothing stands beside a name but an operator."""
    top = [body[index] for index in _top(body, begin, end)]
    signs = [token.text for token in top]
    if "++" in signs or "--" in signs:
        return True
    at = next((n for n, sign in enumerate(signs) if sign in ASSIGNS), None)
    if not at or signs[0] in KEYWORDS:
        return False
    left = top[:at]
    return left[0].text in ("*", "(") or not any(
        one.kind == "word" and (two.kind == "word" or two.text == "*")
        for one, two in zip(left, left[1:]))


def _conditions(body, _type):
    """A condition that is one == or != is left to the rule "equal"."""
    for at, token in enumerate(body):
        if token.text == "if":
            end = _match(body, at + 1)
            signs = [body[index].text for index in _top(body, at + 2, end)]
            if {"==", "!="} & set(signs) and not {"&&", "||"} & set(signs):
                continue
            yield "negate", ((body[at + 1].end, body[at + 1].end, "!("),
                             (body[end].begin, body[end].begin, ")"))


def _signs(body, _type):
    for token in body:
        if token.text in SWAPPED and token.kind == "sign":
            rule, new = SWAPPED[token.text]
            yield rule, ((token.begin, token.end, new),)


def _numbers(body, _type):
    for before, token in zip(body, body[1:]):
        match = NUMBER.fullmatch(token.text) if token.kind == "number" else None
        # What is returned is left to the rule "return".
        if match and before.text != "return":
            value = int(match[1], 0)
            yield "plus", ((token.begin, token.end, f"{value + 1}{match[2]}"),)
            if value:
                yield "minus", ((token.begin, token.end, f"{value - 1}{match[2]}"),)


def _dropped(body, _type):
    for begin, end in _statements(body):
        gone = ((body[begin].begin, body[end].begin, ""),)
        name = body[begin].text
        if _is_call(body, begin, end):
            if name not in LOCKS and name not in UNLOCKS and not SILENT.fullmatch(name):
                yield "call", gone
        elif _is_assignment(body, begin, end):
            yield "assign", gone


def _locks(body, _type):
    """A lock is not taken: all calls for it in the function go."""
    calls = [(body[begin].text, tuple(token.text for token in body[begin + 2:end - 1]),
              (body[begin].begin, body[end].begin, ""))
             for begin, end in _statements(body) if _is_call(body, begin, end)]
    for lock, what in dict.fromkeys(call[:2] for call in calls if call[0] in LOCKS):
        edits = tuple(edit for name, argument, edit in calls
                      if argument == what and name in (lock, LOCKS[lock]))
        if len(edits) > 1:
            yield "lock", edits


def _returns(body, returned):
    for begin, end in _statements(body):
        value = body[begin + 1:end]
        if body[begin].text != "return" or not value:
            continue
        words = "".join(token.text for token in value)
        new = {"true": "false", "false": "true", "0": WRONG.get(returned, "1"),
               "NULL": None}.get(words, "0")
        if new:
            yield "return", ((value[0].begin, value[-1].end, new),)


RULES = (_conditions, _signs, _numbers, _dropped, _locks, _returns)


def changes(text):
    """All changes that the rules make to a file."""
    found = []
    for name, returned, body in functions(text):
        counts = {}
        for rule in RULES:
            for kind, edits in rule(body, returned):
                counts[kind] = counts.get(kind, -1) + 1
                found.append(Change(name, kind, counts[kind], edits))
    return found
