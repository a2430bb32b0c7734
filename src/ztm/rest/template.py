"""Paths with holes, and the tree that finds which of many a request's path fits.

Literal segments are compared without regard to case, ``{x}`` takes one segment that is not empty, ``*`` takes
the rest; a literal is preferred to ``{x}``, and both to ``*``. Nothing is decoded here.

Source: spec mesh-protocol 4.6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

REST = "*"
"""The template segment, and the parameter name, of all that remains."""


def split_path(path: str) -> list[str]:
    """The segments of a path or template, without regard to one slash at its end."""
    return path.removesuffix("/").split("/")[1:]


@dataclass(frozen=True, slots=True)
class Template:
    """A path with holes, taken apart."""

    text: str
    segments: tuple[str, ...]
    names: tuple[str, ...]
    """Of its holes in order; the last may be `REST`."""

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Take ``/literal/{name}/*`` apart; ``*`` may only come last.

        Raises:
            ValueError: the text is no template.
        """
        segments = tuple(split_path(text))
        if (text and not text.startswith("/")) or REST in segments[:-1] or "" in segments:
            raise ValueError(f"not a path template: {text!r}")
        names = tuple(REST if s == REST else s[1:-1] for s in segments if s == REST or _is_hole(s))
        if len(set(names)) != len(names):
            raise ValueError(f"a name comes twice in {text!r}")
        return cls(text, segments, names)


def _is_hole(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


class Node(Generic[T]):
    """One segment of all templates that begin alike; `value` is what stands at a template's end."""

    __slots__ = ("_hole", "_literals", "_rest", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self._literals: dict[str, Node[T]] = {}
        self._hole: Node[T] | None = None
        self._rest: Node[T] | None = None

    def at(self, template: Template) -> "Node[T]":
        """The node where `template` ends, made if missing."""
        node = self
        for segment in template.segments:
            if segment == REST:
                node._rest = node._rest or Node()
                node = node._rest
            elif _is_hole(segment):
                node._hole = node._hole or Node()
                node = node._hole
            else:
                node = node._literals.setdefault(segment.lower(), Node())
        return node

    def matches(self, segments: list[str]) -> list[tuple[T, list[str]]]:
        """Every value whose template fits `segments`, best first, with what its holes took."""
        found: list[tuple[T, list[str]]] = []
        self._gather(segments, 0, [], found)
        return found

    def _gather(self, segments: list[str], start: int, taken: list[str], found: list[tuple[T, list[str]]]) -> None:
        """Add to `found` what fits from segment `start` on, where the holes before it took `taken`."""
        if start == len(segments):
            if self.value is not None:
                found.append((self.value, taken))
        else:
            segment = segments[start]
            literal = self._literals.get(segment) or self._literals.get(segment.lower())
            if literal:
                literal._gather(segments, start + 1, taken, found)
            if self._hole and segment:
                self._hole._gather(segments, start + 1, [*taken, segment], found)
        # at the root the rest may be nothing: "/*" fits "/"
        if self._rest and self._rest.value is not None and (not start or (start < len(segments) and segments[start])):
            found.append((self._rest.value, [*taken, "/".join(segments[start:])]))

    def prefixes(self, segments: list[str], start: int = 0) -> Iterator[tuple[T, list[str], int]]:
        """Every value whose template fits the beginning of `segments`, longest first, with how many it took."""
        if start < len(segments):
            segment = segments[start]
            literal = self._literals.get(segment.lower())
            if literal:
                yield from literal.prefixes(segments, start + 1)
            if self._hole and segment:
                for value, taken, end in self._hole.prefixes(segments, start + 1):
                    yield value, [segment, *taken], end
        if self.value is not None:
            yield self.value, [], start
