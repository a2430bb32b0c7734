"""Patterns of host names, as v1's ACL has them, without v1's surprises: the whole text must match, in linear time.

It is a small part of regular expressions: characters, ``[...]``, ``\\d``, ``\\w``, groups, ``|``, ``*``, ``+``, ``?``.
A ``.`` is any character only where it is repeated (``.*``); alone it is a dot, so that ``10.1.2.3`` is no more than
it looks like. Nothing here backtracks: time is at most the length of the text times that of the pattern.

Source: spec apps-network 6 (ACL addresses, weakness O1).
"""

from collections.abc import Callable

from ztm.errors import UsageError

MAX_PATTERN = 128
"""Characters; bounds the time of a match together with the 253 characters of a host name."""
_MAX_DEPTH = 8
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_DIGITS = frozenset("0123456789")
_PLAIN = _WORD | set("-:%~/@, ")

Test = Callable[[str], bool]
Step = tuple[Test | None, int, int]
"""What a character must pass to go on to the first step; or no test, and both steps are alternatives at once."""


class Pattern:
    """One pattern, compared without regard to case."""

    __slots__ = ("_end", "_start", "_steps", "has_letters", "text")

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            UsageError: it is too long, malformed, or asks for more than patterns have.
        """
        if len(text) > MAX_PATTERN:
            raise UsageError(f"a pattern of {len(text)} characters; {MAX_PATTERN} are allowed")
        self.text = text
        parser = _Parser(text.lower().removeprefix("^").removesuffix("$"), text)
        self._start, self._end, self._steps = parser.parse()
        self.has_letters = parser.has_letters
        """Whether it can only be meant for names: patterns of digits and dots are compared with IP addresses."""

    def matches(self, text: str) -> bool:
        """Whether all of `text` is what the pattern describes."""
        states = self._closure({self._start})
        for character in text.lower():
            states = self._closure({self._steps[one][1] for one in states if self._passes(one, character)})
            if not states:
                return False
        return self._end in states

    def _passes(self, state: int, character: str) -> bool:
        test = self._steps[state][0]
        return test is not None and test(character)

    def _closure(self, states: set[int]) -> set[int]:
        waiting = list(states)
        while waiting:
            test, one, other = self._steps[waiting.pop()]
            if test is None:
                for state in (one, other):
                    if state >= 0 and state not in states:
                        states.add(state)
                        waiting.append(state)
        return states


class _Parser:
    """Reads a pattern by recursive descent into steps; each piece is its first and its last step."""

    def __init__(self, text: str, shown: str) -> None:
        self._text = text
        self._shown = shown
        self._at = 0
        self._depth = 0
        self._steps: list[Step] = []
        self.has_letters = False

    def parse(self) -> tuple[int, int, list[Step]]:
        if not self._text:
            raise self._bad("it is empty")
        start, end = self._alternatives()
        if self._at < len(self._text):
            raise self._bad("a ) without (")
        return start, end, self._steps

    def _bad(self, why: str) -> UsageError:
        return UsageError(f"not an address pattern: {self._shown!r} ({why})")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise self._bad("it ends too early")
        self._at += 1
        return character

    def _step(self, test: Test | None = None, one: int = -1, other: int = -1) -> int:
        self._steps.append((test, one, other))
        return len(self._steps) - 1

    def _link(self, step: int, to: int) -> None:
        self._steps[step] = (None, to, -1)

    def _alternatives(self) -> tuple[int, int]:
        start, end = self._sequence()
        while self._peek() == "|":
            self._at += 1
            other, other_end = self._sequence()
            start, joined = self._step(None, start, other), self._step()
            self._link(end, joined)
            self._link(other_end, joined)
            end = joined
        return start, end

    def _sequence(self) -> tuple[int, int]:
        start = end = self._step()
        while self._peek() not in ("", "|", ")"):
            first, last = self._repeated()
            self._link(end, first)
            end = last
        return start, end

    def _repeated(self) -> tuple[int, int]:
        is_dot = self._peek() == "."
        first, last = self._atom(is_any=is_dot and self._text[self._at + 1 : self._at + 2] in ("*", "+", "?"))
        sign = self._peek()
        if sign not in ("*", "+", "?"):
            return first, last
        self._at += 1
        if self._peek() in ("*", "+", "?", "{"):
            raise self._bad("a repetition of a repetition")
        end = self._step()
        again = self._step(None, end, first if sign != "?" else -1)
        self._link(last, again)
        return (first if sign == "+" else self._step(None, first, end)), end

    def _atom(self, *, is_any: bool) -> tuple[int, int]:
        character = self._take()
        if character == "(":
            return self._group()
        return self._single(self._test(character, is_any=is_any))

    def _group(self) -> tuple[int, int]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._bad("groups are nested too deeply")
        if self._text.startswith("?:", self._at):
            self._at += 2
        found = self._alternatives()
        if self._take() != ")":
            raise self._bad("a ( without )")
        self._depth -= 1
        return found

    def _single(self, test: Test) -> tuple[int, int]:
        last = self._step()
        return self._step(test, last), last

    def _test(self, character: str, *, is_any: bool) -> Test:
        if character == ".":
            return (lambda _: True) if is_any else (lambda one: one == ".")
        if character == "[":
            return self._set().__contains__ if self._peek() != "^" else self._other_than()
        if character == "\\":
            return self._escaped().__contains__
        if character not in _PLAIN:
            raise self._bad(f"{character!r} has no meaning here")
        self._note(character)
        return character.__eq__

    def _note(self, character: str) -> None:
        self.has_letters = self.has_letters or "a" <= character <= "z"

    def _escaped(self) -> frozenset[str]:
        character = self._take()
        if character == "d":
            return _DIGITS
        if character == "w":
            self.has_letters = True
            return _WORD
        if character.isalnum():
            raise self._bad(f"\\{character} has no meaning here")
        return frozenset(character)

    def _other_than(self) -> Test:
        self._at += 1
        found = self._set()
        return lambda character: character not in found

    def _set(self) -> frozenset[str]:
        found: set[str] = set()
        while (character := self._take()) != "]":
            if character == "\\":
                found |= self._escaped()
                continue
            last = character
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = self._take()
            if not (character <= last < "\x7f"):
                raise self._bad(f"{character}-{last} is no range")
            found |= {chr(code) for code in range(ord(character), ord(last) + 1)}
            self._note(character)
            self._note(last)
        return frozenset(found)
