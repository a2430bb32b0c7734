"""Who is who in a mesh: keys, certificates, the authority that signs them, and permits.

Everything passes through here as PEM text. Nothing here touches the disk, the network or the clock, and
no error message or `repr` holds a private key.
"""

from ztm.pki.authority import Authority
from ztm.pki.certificates import (
    certified_kind,
    check_ca,
    check_certificate,
    days_left,
    identity_of,
    key_matches,
    verify,
)
from ztm.pki.keys import check_private_key, check_public_key, fingerprint, kind_of, new_key, public_key, quantum_kinds
from ztm.pki.permits import check_permit, format_permit, parse_permit
from ztm.pki.signatures import check_signature, sign

__all__ = [
    "Authority",
    "certified_kind",
    "check_ca",
    "check_certificate",
    "check_permit",
    "check_private_key",
    "check_public_key",
    "check_signature",
    "days_left",
    "fingerprint",
    "format_permit",
    "identity_of",
    "key_matches",
    "kind_of",
    "new_key",
    "parse_permit",
    "public_key",
    "quantum_kinds",
    "sign",
    "verify",
]
