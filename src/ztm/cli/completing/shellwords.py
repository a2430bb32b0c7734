"""A bash command line as far as the cursor: its words as bash will read them, and how to write the last one on.

Pure. Nothing is expanded: variables, tildes and globs stay as they were typed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9_@%+,./:=-]+")
"""Words that mean themselves to every shell; anything else is escaped."""


@dataclass(frozen=True, slots=True)
class Line:
    """What was typed."""

    words: tuple[str, ...]
    """All words before the one at the cursor, the command itself included."""
    current: str
    """The word at the cursor, without quotes; empty after a blank."""
    settled: str
    """The part of `current` that bash leaves alone: up to its last word break, or to the quote that is open."""
    quote: str = ""
    """The quote that is open at the cursor."""

    def reply(self, word: str) -> str | None:
        """What bash is to put in place of the rest of `current` so that it becomes `word`.

        None if that cannot be: `word` does not begin as `current` does, or cannot stand in the open quote.
        """
        if not word.startswith(self.current):
            return None
        rest = word[len(self.settled) :]
        if self.quote == "'":
            return None if "'" in rest else rest
        if self.quote == '"':
            return re.sub(r'(["\\$`])', r"\\\1", rest)
        return escaped(rest)


def escaped(text: str) -> str:
    """`text` as one unquoted word of a shell."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(letter if _PLAIN.fullmatch(letter) or ord(letter) > 127 else f"\\{letter}" for letter in text)


def parse(line: str, breaks: Iterable[str] = "=:") -> Line:
    """Read `line`, which ends at the cursor; `breaks` are the characters at which bash breaks words apart."""
    return _Parser(frozenset(breaks) - frozenset(" \t\n\"'")).parse(line)


class _Parser:
    def __init__(self, breaks: frozenset[str]) -> None:
        self._breaks = breaks
        self._words: list[str] = []
        self._word = ""
        self._settled = ""
        self._is_begun = False

    def parse(self, line: str) -> Line:
        letters, quote = iter(line), ""
        for letter in letters:
            if quote:
                quote = self._quoted(letter, quote, letters)
            elif letter in "'\"":
                quote, self._settled, self._is_begun = letter, self._word, True
            elif letter == "\\":
                self._add(next(letters, ""))
            elif letter in " \t\n":
                self._end()
            else:
                self._add(letter)
                if letter in self._breaks:
                    self._settled = self._word
        return Line(tuple(self._words), self._word, self._settled, quote)

    def _quoted(self, letter: str, quote: str, letters: Iterable[str]) -> str:
        """One letter within a quote; the quote that is open after it."""
        if letter == quote:
            self._settled = ""  # closed again: bash takes the word from its beginning or its last break
            return ""
        following = next(iter(letters), "") if quote == '"' and letter == "\\" else None
        if following is None:
            self._add(letter)
        else:
            self._add(following if following in '"\\$`' else letter + following)
        return quote

    def _add(self, letters: str) -> None:
        self._word += letters
        self._is_begun = True

    def _end(self) -> None:
        if self._is_begun:
            self._words.append(self._word)
        self._word = self._settled = ""
        self._is_begun = False
