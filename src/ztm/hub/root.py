"""The root permit: made once with the hub, and again only when asked for by name."""

from datetime import UTC, datetime
from pathlib import Path

from ztm.model import ROOT, Address, Permit
from ztm.pki import Authority, fingerprint, format_permit, identity_of, new_key, public_key
from ztm.store.files import secure_directory, write_private
from ztm.store.hub import HubStore


def issue(data: Path, names: tuple[Address, ...], now: datetime | None = None) -> str:
    """A new root permit, as text for a file that only its reader may see; makes the CA if there is none.

    `now` is this machine's clock unless given.

    Raises:
        StorageError: the data directory does not take it.
        CertificateError: the CA in it is not usable.
    """
    secure_directory(data)
    store = HubStore(data)
    try:
        permit = _issue(store, names, now or datetime.now(UTC))
        store.mark_root_issued()
        return permit
    finally:
        store.close()


def issue_once(data: Path, names: tuple[Address, ...], permit: Path | None) -> bool:
    """Make the CA, and the first root permit at `permit`, unless they were made before; True if it was written.

    Raises:
        StorageError: the data directory or `permit` does not take it.
    """
    secure_directory(data)
    store = HubStore(data)
    try:
        if store.authority() is None:
            store.save_authority(Authority.create(datetime.now(UTC)))
        if permit is None or store.root_issued():
            return False
        write_private(permit, _issue(store, names, datetime.now(UTC)))
        store.mark_root_issued()
        return True
    finally:
        store.close()


def _issue(store: HubStore, names: tuple[Address, ...], now: datetime) -> str:
    authority = store.authority()
    if authority is None:
        authority = Authority.create(now)
        store.save_authority(authority)
    key = new_key()
    certificate = authority.sign_user(ROOT, public_key(key), now)
    store.save_issued(ROOT, fingerprint(public_key(key)), identity_of(certificate).not_before)
    return format_permit(Permit(ca=authority.certificate, certificate=certificate, bootstraps=names, key=key))
