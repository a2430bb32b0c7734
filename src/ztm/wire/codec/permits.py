"""What a hub signed, and what revoking cut off, as JSON. Ours: v1 hubs keep no such list.

It decides nothing, and holds no certificate and no key, only their fingerprints and dates.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from ztm.errors import UsageError
from ztm.model import Issued, Origin, PermitState
from ztm.wire.codec.base import Count, read, write
from ztm.wire.records import CutOff, PermitRow

Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Permit(msgspec.Struct, rename="camel"):
    id: Text
    username: Text
    fingerprint: Text
    not_before: Count
    not_after: Count
    issued: Count
    state: Text
    issued_by: str | None = ""
    ends: Count | None = None
    revoked: Count | None = None

    @property
    def record(self) -> PermitRow:
        try:
            state, origin = PermitState(self.state), Origin(self.issued_by or "")
        except ValueError as error:
            raise UsageError(f"malformed list of permits: {error}") from None
        issued = Issued(
            user=self.username,
            key=self.fingerprint,
            not_before=self.not_before,
            not_after=self.not_after,
            time=self.issued,
            origin=origin,
            ends=self.ends,
        )
        return PermitRow(self.id, issued, state, self.revoked)


def encode_permits(rows: Iterable[PermitRow]) -> bytes:
    """The answer to GET `paths.PERMITS`. Times are epoch seconds."""
    return write([_permit(row) for row in rows])


def _permit(row: PermitRow) -> _Permit:
    issued = row.issued
    return _Permit(
        id=row.id,
        username=issued.user,
        fingerprint=issued.key,
        not_before=issued.not_before,
        not_after=issued.not_after,
        issued=issued.time,
        state=row.state,
        issued_by=issued.origin,
        ends=issued.ends,
        revoked=row.revoked,
    )


def decode_permits(data: bytes) -> list[PermitRow]:
    """The permits that a hub signed.

    Raises:
        UsageError: `data` is malformed.
    """
    return [found.record for found in read(data, list[_Permit], "list of permits")]


class _Endpoint(msgspec.Struct):
    id: Text
    name: str | None = ""


class _CutOff(msgspec.Struct):
    endpoints: list[_Endpoint] | None = None


def encode_cut_off(endpoints: Iterable[CutOff]) -> bytes:
    """The answer to DELETE `paths.PERMIT`."""
    return write(_CutOff([_Endpoint(one.id, one.name) for one in endpoints]))


def decode_cut_off(data: bytes) -> list[CutOff]:
    """The endpoints that lost their sessions.

    Raises:
        UsageError: `data` is malformed.
    """
    found = read(data, _CutOff, "answer to a revocation")
    return [CutOff(one.id, one.name or "") for one in found.endpoints or ()]
