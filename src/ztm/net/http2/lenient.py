"""The `h2` connection as the mesh needs it: lenient where v1 peers are unusual, and cheap with many streams.

This is the only file that touches `h2` below its documented surface; `docs/decisions/0002` says why, and
`tests/unit/test_http2_lenient.py` holds each difference, so that a new version of `h2` cannot change one silently.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import FrameTooLargeError, StreamClosedError, StreamIDTooLowError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream
from hyperframe.frame import Frame, RstStreamFrame

WINDOW = 1 << 20
"""Initial window of a stream and of a session (spec mesh-protocol 4.1)."""
FRAME = 16384
"""Largest frame with v1 peers (the same section)."""
OWN_FRAME = 65536
"""Largest frame between our own peers: a quarter of the per-frame work, and still a small step in a queue."""
NO_LIMIT = (1 << 31) - 1
FRAMES_AT_ONCE = 128
"""Frames taken of one read before others get their turn: two milliseconds of frames, or thirty of requests."""


_FRAME_HEAD = 9
"""Bytes before a frame's content (RFC 9113 section 4.1)."""


class _Few(list[Any]):
    """A short queue, where `h2` and `hpack` use deques: an empty one takes as much memory as a hundred numbers, and
    a hub would have some forty of them for each idle agent.
    """

    def popleft(self) -> Any:
        """Take the oldest."""
        return self.pop(0)

    def appendleft(self, item: Any) -> None:
        """Put one in front."""
        self.insert(0, item)


class _LenientStream(H2Stream):
    """An `h2` stream that does not compare a body with its `content-length`.

    `h2` ends the whole session when they differ, which would let one bad request harm its neighbours.
    """

    def _initialize_content_length(self, headers: Iterable[Any]) -> None:
        """Leave the expected length unknown."""


class _PatientBuffer(FrameBuffer):
    """An `h2` frame buffer that gives `FRAMES_AT_ONCE` and keeps the rest for the next read.

    It refuses a frame or header block by its announced size, where `h2` would first gather all of it.
    """

    header_bytes = 0

    def __next__(self) -> Frame:
        if len(self._data) >= _FRAME_HEAD:
            length = int.from_bytes(self._data[:3])
            self._validate_frame_length(length)
            if (
                self._headers_buffer
                and sum(len(part.data) for part in self._headers_buffer) + length > self.header_bytes
            ):
                raise FrameTooLargeError("a header block is too large")
        return super().__next__()

    def __iter__(self) -> Iterator[Frame]:  # type: ignore[override]
        return islice(iter(self.__next__, None), FRAMES_AT_ONCE)

    @property
    def has_frame(self) -> bool:
        """Whether a whole frame waits."""
        size = len(self._data)
        return size >= _FRAME_HEAD and size >= _FRAME_HEAD + int.from_bytes(self._data[:3])


class LenientConnection(H2Connection):
    """An `h2` connection for mesh sessions; `own` allows what only our own peers are known to take.

    Accepts and sends CONNECT with ``:scheme`` and ``:path``; never ends a session over the number of
    streams (v1 ignores MAX_CONCURRENT_STREAMS, so the layer above refuses the excess one by one).
    """

    _takers: ClassVar[dict[type[Frame], Any]] = {}
    """What takes a frame of each kind; `h2` makes such a table for each connection."""
    MAX_CLOSED_STREAMS = 1024
    """How many ended streams `h2` remembers the end of; late frames of older ones are refused all the same."""

    def __init__(self, role: str, *, own: bool, header_bytes: int) -> None:
        super().__init__(
            H2Configuration(
                client_side=role == "client",
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        frame = OWN_FRAME if own else FRAME
        self.local_settings = Settings(
            client=role == "client",
            initial_values={
                SettingCodes.HEADER_TABLE_SIZE: 4096,
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_FRAME_SIZE: frame,
                SettingCodes.MAX_CONCURRENT_STREAMS: NO_LIMIT,
                SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
            },
        )
        self.incoming_buffer.__class__ = _PatientBuffer
        self.incoming_buffer.header_bytes = header_bytes  # type: ignore[attr-defined]
        self._save_memory()
        self.max_inbound_frame_size = frame
        self.decoder.max_header_list_size = header_bytes

    def _save_memory(self) -> None:
        for settings in (self.local_settings, self.remote_settings):
            kept: Any = {code: _Few(values) for code, values in settings._settings.items()}
            kept.setdefault(SettingCodes.MAX_CONCURRENT_STREAMS, _Few([NO_LIMIT]))
            kept.setdefault(SettingCodes.MAX_HEADER_LIST_SIZE, _Few([None]))
            settings._settings = kept
        for table in (self.encoder.header_table, self.decoder.header_table):
            table.dynamic_entries = _Few()  # type: ignore[assignment]
        if not LenientConnection._takers:
            takers: dict[type[Frame], Any] = dict(self._frame_dispatch_table)
            LenientConnection._takers = {kind: take.__func__ for kind, take in takers.items()}
        self._frame_dispatch_table = {}

    @property
    def is_behind(self) -> bool:
        """Whether frames wait that `receive_data` has not taken yet; it takes more with each call."""
        return self.incoming_buffer.has_frame  # type: ignore[attr-defined, no-any-return]

    def _open_streams(self, remainder: int) -> int:  # noqa: ARG002
        """None, always: the session counts and forgets streams itself, and a walk here would cost each new one."""
        return 0

    def forget(self, stream_id: int) -> None:
        """Drop the state of a stream that is over, keeping only how it ended."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._closed_streams[stream_id] = stream.closed_by

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """One frame. A late one, for a stream that is over, is refused alone: `h2` would end the session for most.

        (`h2` also writes every frame out as text here for a log that nobody reads; for bulk data that costs more
        than all the rest.)
        """
        try:
            frames, events = self._takers[type(frame)](self, frame)
        except (StreamClosedError, StreamIDTooLowError) as error:
            late = RstStreamFrame(error.stream_id)
            late.error_code = ErrorCodes.STREAM_CLOSED
            frames, events = [late], []
        self._prepare_for_sending(frames)
        return list(events)

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _LenientStream
        return stream

    def has_stream_window(self, stream_id: int) -> bool:
        """Whether the stream's own window lets bytes through, whatever the session's does."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.outbound_flow_control_window > 0
