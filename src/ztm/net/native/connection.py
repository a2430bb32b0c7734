"""A TCP connection of the native plane, with or without TLS, as a stream."""

import contextlib

from ztm_native import Stream as Handle

from ztm.errors import CertificateError
from ztm.model import Address, Identity
from ztm.net.native.plane import Plane
from ztm.net.native.stream import NativeStream
from ztm.pki import identity_of


class NativeConnection(NativeStream):
    """See `net.base.Stream`; who the peer is and where is found out when somebody asks, and once."""

    __slots__ = ("_identity", "_is_known", "_local", "_remote")

    def __init__(self, plane: Plane, handle: Handle) -> None:
        super().__init__(plane, handle)
        self._identity: Identity | None = None
        self._is_known = False
        """The certificate was read."""
        self._remote: Address | None = None
        self._local: Address | None = None

    @property
    def identity(self) -> Identity | None:
        """See `net.base.Stream`."""
        if not self._is_known:
            self._is_known = True
            certificate = self.handle.take_certificate()
            if certificate is not None:
                with contextlib.suppress(CertificateError):  # then it names nobody, and nobody is refused everywhere
                    self._identity = identity_of(certificate)
        return self._identity

    @property
    def remote(self) -> Address | None:
        """See `net.base.Stream`."""
        if self._remote is None:
            self._remote = _address(self.handle.remote)
        return self._remote

    @property
    def local(self) -> Address | None:
        """See `net.base.Stream`."""
        if self._local is None:
            self._local = _address(self.handle.local)
        return self._local

    @property
    def is_own(self) -> bool:
        """See `net.base.Stream`."""
        return self.handle.is_own


def _address(name: tuple[str, int] | None) -> Address | None:
    return Address(*name) if name is not None else None
