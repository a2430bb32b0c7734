"""TLS contexts from a `TlsConfig`: mutual certificates of one CA, and nothing else trusted.

Contexts are made once per configuration, never per connection. Private keys go from memory to the TLS library
through an anonymous file where the system has them, and otherwise through a private temporary file.
"""

import contextlib
import os
import ssl
import tempfile
from pathlib import Path

from ztm.errors import CertificateError
from ztm.net.base import TlsConfig
from ztm.pki import certified_kind

OWN_ALPN = "ztm/1"
"""The ALPN token by which two peers of this implementation know each other (spec mesh-protocol 8.4)."""
QUANTUM_SINCE = (3, 5)
"""The release of OpenSSL that brought ML-DSA to TLS."""


def context(config: TlsConfig, *, server: bool) -> ssl.SSLContext:
    """A context for either role; see spec mesh-protocol 3 for what v1 needs.

    Raises:
        CertificateError: the CA, certificate or key is malformed, they do not match, or Python's `ssl` lacks what it
            takes: it cannot be told the key exchange, and has certificates of ML-DSA only with a new OpenSSL.
    """
    if config.groups:
        raise CertificateError(f"Python's ssl module ({library()}) cannot be told the key exchange")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False  # names are not in mesh certificates; `admit` checks who it is
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # v1's CA is an X.509 v1 certificate, which strict checking refuses (spec mesh-protocol 2.1).
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    # v1 hubs abort a handshake that tries to resume, and our own sessions live long: no tickets.
    made.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    if server:
        made.num_tickets = 0
    made.set_alpn_protocols([OWN_ALPN, "h2", "http/1.1"] if server else [OWN_ALPN])
    try:
        made.load_verify_locations(cadata=config.ca)
        _load_chain(made, config)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise CertificateError(_unusable(config, error)) from error
    return made


def library() -> str:
    """Python's own TLS library, for people."""
    return " ".join(ssl.OPENSSL_VERSION.split()[:2])


def _unusable(config: TlsConfig, error: Exception) -> str:
    kind = ""
    with contextlib.suppress(CertificateError):
        kind = certified_kind(config.ca) or certified_kind(config.certificate)
    if kind and ssl.OPENSSL_VERSION_INFO < QUANTUM_SINCE:
        return f"Python's ssl module ({library()}) lacks {kind}: ztm-native has it, and OpenSSL from 3.5 on"
    return f"the mesh's CA, certificate or key is not usable: {error}"


def _load_chain(made: ssl.SSLContext, config: TlsConfig) -> None:
    load_chain(made, config.key.strip() + "\n" + config.certificate.strip() + "\n")


def load_chain(made: ssl.SSLContext, chain: str) -> None:
    """Have `made` show a certificate: `chain` is its private key and the certificate, both PEM."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("ztm", os.MFD_CLOEXEC), "w") as file:
            file.write(chain)
            file.flush()
            made.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory() as private:  # made with mode 0700
        path = Path(private, "chain.pem")
        path.write_text(chain)
        made.load_cert_chain(path)
