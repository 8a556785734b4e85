"""Two texts side by side: which lines are the same, removed, added, and which words changed.

Used by the code page. The lines carry their marks for the style sheet already.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from penstock.dashboard import colour

#: Lines that are the same are shown this far around a change; more are folded.
_AROUND = 3

#: Lines in which less than this share is the same are not compared word by word.
_ALIKE = 0.55

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class Side(NamedTuple):
    """One half of a line: its number (0 for a filler), text, and `same`, `del`, `ins` or `fill`."""

    number: int
    text: Markup
    how: str


class Pair(NamedTuple):
    """A line of the difference, or a fold of `folded` lines that are the same."""

    old: Side
    new: Side
    folded: int = 0
    first: bool = False


class Diff(NamedTuple):
    """The lines of a difference, and how many were removed and added."""

    pairs: list[Pair]
    removed: int
    added: int


_FILL = Side(0, Markup(""), "fill")


def diff(old: str, new: str, *, python: bool = True, old_line: int = 1, new_line: int = 1) -> Diff:
    """Return the difference of two texts.

    Args:
        old: The earlier text.
        new: The later text.
        python: Whether to mark the words of Python.
        old_line: Number of the first line of `old` in its file.
        new_line: Number of the first line of `new`.
    """
    before, after = old.splitlines(), new.splitlines()
    mark = colour.python if python else _plain
    shown = _Shown(colour.lines(mark(old)), colour.lines(mark(new)), old_line, new_line)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    pairs: list[Pair] = []
    removed = added = 0
    operations = matcher.get_opcodes()
    for index, (how, i1, i2, j1, j2) in enumerate(operations):
        if how == "equal":
            edges = (index == 0, index == len(operations) - 1)
            pairs += _same(shown, i1, i2, j1, edges)
            continue
        removed, added = removed + i2 - i1, added + j2 - j1
        changed = _changed(shown, before[i1:i2], after[j1:j2], i1, j1)
        pairs += [pair._replace(first=at == 0) for at, pair in enumerate(changed)]
    return Diff(pairs, removed, added)


def _plain(text: str) -> Markup:
    return escape(text)


class _Shown(NamedTuple):
    old: list[Markup]
    new: list[Markup]
    old_line: int
    new_line: int

    def left(self, index: int, how: str = "same") -> Side:
        return Side(index + self.old_line, self.old[index], how)

    def right(self, index: int, how: str = "same") -> Side:
        return Side(index + self.new_line, self.new[index], how)


def _same(shown: _Shown, i1: int, i2: int, j1: int, edges: tuple[bool, bool]) -> Iterator[Pair]:
    count = i2 - i1
    head = 0 if edges[0] else min(_AROUND, count)
    tail = 0 if edges[1] else min(_AROUND, count - head)
    hidden = count - head - tail
    if hidden <= 2:
        head, hidden = count, 0
    for at in range(head):
        yield Pair(shown.left(i1 + at), shown.right(j1 + at))
    if hidden:
        yield Pair(_FILL, _FILL, folded=hidden)
        for at in range(count - tail, count):
            yield Pair(shown.left(i1 + at), shown.right(j1 + at))


def _changed(
    shown: _Shown, before: Sequence[str], after: Sequence[str], i1: int, j1: int
) -> list[Pair]:
    """Return lines that differ, those that are alike beside each other."""
    pairs: list[Pair] = []
    at_old = at_new = 0
    for old, new in _partners(before, after):
        while at_old < old:
            pairs.append(Pair(shown.left(i1 + at_old, "del"), _FILL))
            at_old += 1
        while at_new < new:
            pairs.append(Pair(_FILL, shown.right(j1 + at_new, "ins")))
            at_new += 1
        left, right = _words(before[old], after[new])
        pairs.append(
            Pair(
                Side(i1 + old + shown.old_line, left, "del"),
                Side(j1 + new + shown.new_line, right, "ins"),
            )
        )
        at_old, at_new = old + 1, new + 1
    pairs += [Pair(shown.left(i1 + at, "del"), _FILL) for at in range(at_old, len(before))]
    pairs += [Pair(_FILL, shown.right(j1 + at, "ins")) for at in range(at_new, len(after))]
    return pairs


def _partners(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Return the lines that became another one, in order: each takes what is most alike."""
    found: list[tuple[int, int]] = []
    start = 0
    for i, old in enumerate(before):
        best, most = -1, _ALIKE
        for j in range(start, len(after)):
            if not old.strip() or not after[j].strip():
                continue
            alike = difflib.SequenceMatcher(None, old.strip(), after[j].strip()).ratio()
            if alike > most:
                best, most = j, alike
        if best >= 0:
            found.append((i, best))
            start = best + 1
    return found


def _words(old: str, new: str) -> tuple[Markup, Markup]:
    """Return two lines with the words that changed marked."""
    indents = [len(line) - len(line.lstrip()) for line in (old, new)]
    before, after = _WORDS.findall(old[indents[0] :]), _WORDS.findall(new[indents[1] :])
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    left: list[Markup] = [Markup(" " * indents[0])]  # noqa: S704 - spaces only
    right: list[Markup] = [Markup(" " * indents[1])]  # noqa: S704
    for how, i1, i2, j1, j2 in matcher.get_opcodes():
        a, b = "".join(before[i1:i2]), "".join(after[j1:j2])
        if how == "equal":
            left.append(colour.python(a))
            right.append(colour.python(b))
            continue
        if a:
            left.append(Markup("<mark>{}</mark>").format(a))
        if b:
            right.append(Markup("<mark>{}</mark>").format(b))
    return Markup("").join(left), Markup("").join(right)
