"""How addresses, traffic and the last failure of something that carries streams are shown, as JSON."""

from msgspec import UNSET, Struct, UnsetType


class ErrorShown(Struct):
    """What went wrong last; `time` is ISO 8601, UTC."""

    time: str
    message: str


class TrafficShown(Struct):
    """What passed since the app started; bytes sent are those towards the target."""

    open: int
    total: int
    sent: int
    received: int


class TargetShown(Struct):
    """An address to dial; to its owner also how it is doing, and why it could not be reached last time."""

    host: str
    port: int
    error: str | UnsetType = UNSET
    state: str | UnsetType = UNSET


class ListenShown(Struct):
    """An address to listen on, whether it is open, and if not why."""

    ip: str
    port: int
    open: bool
    error: str | UnsetType = UNSET
