"""Who signs for a hub: the CA in its data directory, or an external CA service.

A certificate that comes from elsewhere is used only after it was proved to be what was asked for.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ztm.errors import CertificateError, ConflictError
from ztm.hub.ca_service import CaService
from ztm.model import HUB_PREFIX, check_user, check_uuid
from ztm.pki import Authority, check_ca, fingerprint, verify
from ztm.store.hub import HubStore


class Signer(Protocol):
    """A mesh's authority as hubs use it; see `pki.Authority`."""

    @property
    def certificate(self) -> str:
        """The CA's certificate, PEM."""

    def sign_user(
        self,
        user: str,
        public_pem: str,
        now: datetime,
        days: int = 365,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> str:
        """A user's certificate, PEM."""

    def sign_hub(self, hub_id: str, public_pem: str, now: datetime, days: int = 90) -> str:
        """A hub's certificate, PEM."""


@dataclass(frozen=True, slots=True)
class RemoteAuthority:
    """An external CA service as a `Signer`. Its methods block: call them in a thread.

    The service decides about dates; those that are asked for are its to ignore.
    """

    service: CaService
    certificate: str

    @classmethod
    def ask(cls, service: CaService) -> "RemoteAuthority":
        """The service, with its certificate asked for and checked.

        Raises:
            CertificateError: what it sends may not be a mesh's CA.
            ZtmError: it is not reachable, is not trusted, or refuses.
        """
        return cls(service, check_ca(service.certificate()))

    def sign_user(
        self,
        user: str,
        public_pem: str,
        now: datetime,
        days: int = 365,  # noqa: ARG002
        *,
        not_before: datetime | None = None,  # noqa: ARG002
        not_after: datetime | None = None,  # noqa: ARG002
    ) -> str:
        """See `pki.Authority.sign_user`.

        Raises:
            CertificateError: the service sent something else than was asked for.
            ZtmError: it is not reachable, is not trusted, or refuses.
        """
        return self._signed(check_user(user), public_pem, now, server=False)

    def sign_hub(self, hub_id: str, public_pem: str, now: datetime, days: int = 90) -> str:  # noqa: ARG002
        """See `pki.Authority.sign_hub`.

        Raises:
            CertificateError: the service sent something else than was asked for.
            ZtmError: it is not reachable, is not trusted, or refuses.
        """
        return self._signed(HUB_PREFIX + check_uuid("hub", hub_id), public_pem, now, server=True)

    def _signed(self, name: str, public_pem: str, now: datetime, *, server: bool) -> str:
        certificate = self.service.sign(name, public_pem)
        # The service's clock rounds and runs by its own; a certificate of this second is valid by now.
        identity = verify(certificate, self.certificate, max(now, datetime.now(UTC)), server=server)
        if identity.user != name:
            raise CertificateError(f"the CA service signed {identity.user!r} instead of {name!r}")
        if identity.key != fingerprint(public_pem):
            raise CertificateError(f"the CA service signed another key than that of {name!r}")
        return certificate


def signer_of(store: HubStore, service: CaService | None) -> Signer | None:
    """Who signs for the hub of this store; None if it has no CA yet. Blocks while it asks a service.

    Raises:
        ConflictError: a service is named, and the store has a CA of its own, another one.
        ZtmError: as `RemoteAuthority.ask`; or the store is not readable.
    """
    own = store.authority()
    if service is None:
        return own
    remote = RemoteAuthority.ask(service)
    if own is not None and check_ca(own.certificate) != remote.certificate:
        raise ConflictError(
            f"the data directory has a CA of its own, which is not that of {service}: "
            "use another directory, or leave --ca out"
        )
    return remote


def new_authority(store: HubStore, kind: str, now: datetime) -> Authority:
    """The store's CA, made at `now` (aware UTC) if there is none; its key is of this kind then (see `pki.new_key`).

    Raises:
        StorageError: the disk does not take it.
        CertificateError: the CA in the store is not usable.
    """
    authority = store.authority()
    if authority is None:
        authority = Authority.create(now, kind)
        store.save_authority(authority)
    return authority
