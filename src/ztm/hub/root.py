"""The root permit: made once with the hub, and again only when asked for by name."""

from datetime import UTC, datetime
from pathlib import Path

from ztm.core.permits import issued_of
from ztm.hub.authority import Signer, new_authority, signer_of
from ztm.hub.ca_service import CaService
from ztm.model import ROOT, Address, Origin, Permit
from ztm.pki import format_permit, identity_of, new_key, public_key
from ztm.store.files import secure_directory, write_private
from ztm.store.hub import HubStore


def issue(
    data: Path,
    names: tuple[Address, ...],
    now: datetime | None = None,
    *,
    ca: CaService | None = None,
    signature: str = "",
) -> str:
    """A new root permit, as text for a file that only its reader may see; makes the CA if there is none.

    `now` is this machine's clock unless given; `ca` signs instead of an own CA; `signature` is the kind of new keys.

    Raises:
        StorageError: the data directory does not take it.
        CertificateError: the CA in it is not usable.
        ZtmError: `ca` is not reachable, is not trusted, or refuses.
    """
    secure_directory(data)
    store = HubStore(data)
    try:
        moment = now or datetime.now(UTC)
        signer = signer_of(store, ca) or new_authority(store, signature, moment)
        permit = _issue(store, signer, names, moment, signature)
        store.mark_root_issued()
        return permit
    finally:
        store.close()


def issue_once(
    data: Path, names: tuple[Address, ...], permit: Path | None, *, ca: CaService | None = None, signature: str = ""
) -> bool:
    """Make the CA, and the first root permit at `permit`, unless they were made before; True if it was written.

    Raises:
        StorageError: the data directory or `permit` does not take it.
        ZtmError: `ca` is not reachable, is not trusted, or refuses.
    """
    secure_directory(data)
    store = HubStore(data)
    try:
        now = datetime.now(UTC)
        if ca is None:
            new_authority(store, signature, now)
        if permit is None or store.root_issued():
            return False
        signer = signer_of(store, ca) or new_authority(store, signature, now)
        write_private(permit, _issue(store, signer, names, now, signature))
        store.mark_root_issued()
        return True
    finally:
        store.close()


def _issue(store: HubStore, signer: Signer, names: tuple[Address, ...], now: datetime, kind: str) -> str:
    key = new_key(kind)
    certificate = signer.sign_user(ROOT, public_key(key), now)
    store.save_permit(issued_of(identity_of(certificate), now, Origin.HUB))
    return format_permit(Permit(ca=signer.certificate, certificate=certificate, bootstraps=names, key=key))
