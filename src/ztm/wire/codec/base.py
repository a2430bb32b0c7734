"""The JSON that all codecs share: reading with one kind of error, bounded numbers, and the version shape.

It knows no message as a whole.
"""

from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec

from ztm.errors import UsageError
from ztm.model import Address, Version

T = TypeVar("T")

MAX_NUMBER = 2**53
"""Beyond this, peers that count in doubles could not have meant it."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)] | Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""A time or a rate. v1 computes in doubles, so a fraction may come."""
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


@cache
def _decoder(shape: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def read(data: bytes, shape: type[T], what: str) -> T:
    """`data` as `shape`; `what` names the message for people.

    Raises:
        UsageError: it is not JSON, or of another shape.
    """
    try:
        found: T = _decoder(cast("Hashable", shape)).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"malformed {what}: {error}") from error
    except RecursionError as error:
        raise UsageError(f"malformed {what}: nested too deeply") from error
    return found


def write(value: Any) -> bytes:
    """`value` as compact JSON."""
    return msgspec.json.encode(value)


class Build(msgspec.Struct, omit_defaults=True):
    """What `version.ztm` and `version.pipy` look like; unset texts are left out."""

    edition: str | None = None
    tag: str | None = None
    commit: str | None = None
    date: str | None = None


class Versions(msgspec.Struct, omit_defaults=True):
    """The pair of versions that every v1 process tells. `pipy` is the runtime below the program."""

    ztm: Build | None = None
    pipy: Build | None = None

    @property
    def version(self) -> Version:
        """Of the program."""
        ztm = self.ztm or Build()
        return Version(ztm.edition or "", ztm.tag or "", ztm.commit or "", ztm.date or "")

    @property
    def runtime(self) -> str:
        """Of what it runs on, or ``""``."""
        return (self.pipy and self.pipy.tag) or ""


def versions(version: Version, runtime: str = "") -> Versions:
    """The wire shape of a version; `runtime` is left out if empty."""
    ztm = Build(version.edition or None, version.tag or None, version.commit or None, version.date or None)
    return Versions(ztm, Build(tag=runtime) if runtime else None)


def short_versions(version: Version) -> Versions:
    """The form that lists use: edition and tag only."""
    return versions(Version(version.edition, version.tag))


def addresses(texts: list[str] | None) -> tuple[Address, ...]:
    """``host:port`` texts as addresses.

    Raises:
        UsageError: one of them is malformed.
    """
    return tuple(Address.parse(text) for text in texts or ())
