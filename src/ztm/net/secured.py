"""TLS spoken over a stream of any kind, as a stream.

It knows no certificates: these are in the context that its caller made. An end of file without TLS's own goodbye is
told apart (`is_ragged`), as it may be somebody else's cut.

Source: RFC 8446 section 6.1 (close_notify); OpenSSL through `ssl.MemoryBIO`.
"""

import asyncio
import contextlib
import ssl

from ztm.errors import BrokenStreamError, CertificateError
from ztm.net.flow import FlowStream
from ztm.net.layer import Layer

CHUNK = 64 << 10
"""Decrypted bytes that are passed on at once."""


class SecuredStream(Layer):
    """One side of TLS over `below`; use `secured`."""

    __slots__ = ("_debt", "_in", "_out", "_shaken", "_tls", "_uncredited", "is_ragged", "mirrored")

    def __init__(self, below: FlowStream, context: ssl.SSLContext, server_name: str | None) -> None:
        super().__init__(below)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = server_name is None
        # An end without close_notify is told by `is_ragged`; for OpenSSL it would be the end of both directions.
        context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        self._tls = context.wrap_bio(self._in, self._out, server_side=is_server, server_hostname=server_name)
        self._shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._debt = 0
        """Encrypted bytes that came, less the credit given for them."""
        self._uncredited = 0
        """Decrypted bytes that nobody has taken yet."""
        self.is_ragged = False
        """Whether the peer's side ended without close_notify."""
        self.mirrored: SecuredStream | None = None
        """The stream whose end is passed on by `end`: a ragged one as such."""

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed upon."""
        return self._tls.selected_alpn_protocol()

    async def shake(self) -> None:
        """Do the handshake. Cancelling it cuts the stream.

        Raises:
            CertificateError: the peer's certificate was not verified.
            BrokenStreamError: it failed otherwise.
        """
        self.begin()
        self._step()
        try:
            await self._shaken
        except asyncio.CancelledError:
            self.abort("the TLS handshake was given up")
            raise

    # ------------------------------------------------------------------ from below

    def push(self, data: bytes) -> None:
        """Encrypted bytes came."""
        if self._ended or self._finished:
            self._below.credit(len(data))
            return
        self._debt += len(data)
        self._in.write(data)
        self._step()

    def finish(self) -> None:
        """The stream below ended."""
        if self._ended:
            return
        self.is_ragged = not self._finished and self._shaken.done()
        self._in.write_eof()
        self._step()
        if not self._shaken.done():
            self._broken_by_tls(BrokenStreamError("the peer left within the TLS handshake"))

    def broke(self, reason: str) -> None:
        """The stream below was cut."""
        self._fail(BrokenStreamError(f"the TLS handshake was cut: {reason}"))
        self.broken(reason)

    def _step(self) -> None:
        """Go on as far as the bytes that are here allow."""
        try:
            if not self._shaken.done():
                self._tls.do_handshake()
                self._shaken.set_result(None)
            self._decrypt()
        except ssl.SSLWantReadError:
            pass  # until more comes
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            if self._shaken.done():
                self.finished()
        except ssl.SSLCertVerificationError as error:
            self._broken_by_tls(CertificateError(error.verify_message or "the certificate is not valid"))
        except ssl.SSLError as error:
            self._broken_by_tls(BrokenStreamError(f"TLS failed: {error.reason or error}"))
        self._flush()
        self._settle_credit()

    def _decrypt(self) -> None:
        while not self._finished and not self._ended:
            data = self._tls.read(CHUNK)
            if not data:
                self.finished()
                return
            self._uncredited += len(data)
            self.arrived(data)

    def _broken_by_tls(self, error: CertificateError | BrokenStreamError) -> None:
        self._fail(error)  # before the peer can answer
        self._flush()  # the alert tells the peer why; so the stream below is ended, and its owner cuts it
        self._below.end()
        self.broken(str(error))

    def _fail(self, error: CertificateError | BrokenStreamError) -> None:
        if not self._shaken.done():
            self._shaken.set_exception(error)
            self._shaken.exception()  # whoever awaits it sees it; one who does not has left

    def _flush(self) -> int:
        return self._below.send(self._out.read()) if self._out.pending else 0

    def _settle_credit(self) -> None:
        """Records are larger than what is in them: the difference is given back when nothing is waiting."""
        if self._debt and (not self._uncredited or self._finished):
            debt, self._debt = self._debt, 0
            self._below.credit(debt)

    # ------------------------------------------------------------------ for FlowStream

    def _transmit(self, data: bytes) -> int:
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._broken_by_tls(BrokenStreamError(f"TLS failed: {error.reason or error}"))
            return len(data)
        self._flush()
        return len(data) if self._below.owed <= 0 else 0

    def _credit(self, size: int) -> None:
        self._uncredited -= size
        given = min(size, self._debt)
        self._debt -= given
        self._below.credit(given)
        self._settle_credit()

    def _end(self) -> None:
        if self.mirrored is None or not self.mirrored.is_ragged:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
        self._below.end()


async def secured(below: FlowStream, context: ssl.SSLContext, *, server_name: str | None = None) -> SecuredStream:
    """TLS over `below`, once both sides have agreed: as the client of `server_name`, or as the server.

    Raises:
        CertificateError: the peer's certificate was not verified; `below` was cut.
        BrokenStreamError: the handshake failed otherwise; `below` was cut.
    """
    stream = SecuredStream(below, context, server_name)
    await stream.shake()
    return stream
