"""Which post-quantum algorithms the network of this process can really use, tried and not guessed.

It changes nothing: keys are made by `pki`, and a key exchange is chosen by the `groups` of a `TlsConfig`.

Source: spec cli.md section 7 (the names), mesh-protocol 17.
"""

import os
from datetime import UTC, datetime
from importlib.metadata import version

from ztm.errors import CertificateError, UsageError, ZtmError
from ztm.net.base import TlsConfig
from ztm.net.choice import VARIABLE, implementation
from ztm.pki import Authority, quantum_kinds

KEY_EXCHANGES = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
LATTICE = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
HASHES = ("SLH-DSA-128s", "SLH-DSA-128f", "SLH-DSA-192s", "SLH-DSA-192f", "SLH-DSA-256s", "SLH-DSA-256f")
"""OpenSSL (3.6) makes and verifies such signatures, and has no TLS signature scheme for them: it refuses to show such a
certificate. The proof is in the native plane's tests (``native/tests/tls/quantum.rs``)."""
SIGNATURES = (*LATTICE, *HASHES)


class UnavailableError(ZtmError):
    """The algorithm exists, and a library of this machine lacks it."""

    status = 501


def check_key_exchange(name: str) -> str:
    """Return `name` if the chosen network can keep to this key exchange.

    Raises:
        UsageError: there is no such algorithm, or no such network.
        UnavailableError: there is, and the network cannot.
    """
    _check_known(name, KEY_EXCHANGES)
    _try(name, Authority.create(datetime.now(UTC)), name, "--pqc-key-exchange")
    return name


def check_signature(name: str) -> str:
    """Return `name` if keys of this kind can be made here, and used for TLS by the chosen network.

    Raises:
        UsageError: there is no such algorithm, or no such network.
        UnavailableError: a library lacks it; the message says which.
    """
    _check_known(name, SIGNATURES)
    if name in HASHES:
        raise UnavailableError(
            f"{name} is not available: OpenSSL cannot sign TLS handshakes with it, so that nobody could connect; "
            f"take one of {', '.join(LATTICE)}"
        )
    library = f"the cryptography library {version('cryptography')}"
    if name not in quantum_kinds():
        raise UnavailableError(f"{name} is not available: {library} lacks it; leave --pqc-signature out")
    try:
        made = Authority.create(datetime.now(UTC), name)
    except CertificateError:
        raise UnavailableError(f"{name} is not available: {library} was built without it") from None
    _try(name, made, "", "--pqc-signature")
    return name


def _try(name: str, made: Authority, groups: str, option: str) -> None:
    """Have the chosen network use the certificate of `made` and `groups`, as a hub would."""
    chosen = implementation()
    try:
        chosen().check_tls(TlsConfig(ca=made.certificate, certificate=made.certificate, key=made.key, groups=groups))
    except CertificateError as error:
        raise UnavailableError(f"{name} is not available: {error}; {_remedy(chosen.kind, option)}") from None


def _remedy(kind: str, option: str) -> str:
    if kind != "aio":
        return f"leave {option} out"
    native = f"set {VARIABLE}=native" if os.environ.get(VARIABLE) else "install ztm-native"
    return f"{native}, or leave {option} out"


def _check_known(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UsageError(f"unknown algorithm {name!r} (one of {', '.join(known)})")
