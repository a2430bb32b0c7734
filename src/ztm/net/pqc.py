"""Which post-quantum algorithms this machine's libraries can really use, tried and not guessed.

It changes nothing: keys are made by `pki`, and the exchange of keys is the TLS library's own choice.

Source: spec cli.md section 7 (the names).
"""

import ssl
from datetime import UTC, datetime
from importlib.metadata import version

from ztm.errors import CertificateError, UsageError, ZtmError
from ztm.net.base import TlsConfig
from ztm.net.tls import context
from ztm.pki import Authority, quantum_kinds

KEY_EXCHANGES = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
SIGNATURES = (
    *("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
    *("SLH-DSA-128s", "SLH-DSA-128f", "SLH-DSA-192s", "SLH-DSA-192f", "SLH-DSA-256s", "SLH-DSA-256f"),
)


class UnavailableError(ZtmError):
    """The algorithm exists, and a library of this machine lacks it."""

    status = 501


def check_key_exchange(name: str) -> None:
    """Say that a key exchange cannot be chosen: Python's `ssl` has no call for that, whatever OpenSSL has.

    Raises:
        UsageError: there is no such algorithm.
        UnavailableError: there is.
    """
    _check_known(name, KEY_EXCHANGES)
    raise UnavailableError(
        f"{name} is not available: Python's ssl module ({_tls()}) cannot be told the key exchange; "
        "leave --pqc-key-exchange out"
    )


def check_signature(name: str) -> str:
    """Return `name` if keys of this kind can be made here, and used for TLS.

    Raises:
        UsageError: there is no such algorithm.
        UnavailableError: a library lacks it; the message says which.
    """
    _check_known(name, SIGNATURES)
    library = f"the cryptography library {version('cryptography')}"
    if name not in quantum_kinds():
        raise UnavailableError(f"{name} is not available: {library} lacks it; leave --pqc-signature out")
    try:
        made = Authority.create(datetime.now(UTC), name)
    except CertificateError:
        raise UnavailableError(f"{name} is not available: {library} was built without it") from None
    try:
        context(TlsConfig(ca=made.certificate, certificate=made.certificate, key=made.key), server=True)
    except CertificateError:
        raise UnavailableError(
            f"{name} is not available: Python's TLS library ({_tls()}) lacks it (OpenSSL has it from 3.5 on); "
            "leave --pqc-signature out"
        ) from None
    return name


def _check_known(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UsageError(f"unknown algorithm {name!r} (one of {', '.join(known)})")


def _tls() -> str:
    return " ".join(ssl.OPENSSL_VERSION.split()[:2])
