"""Why something of the network failed, for people: errors of the system and of the TLS library in our words."""

import errno
import socket
import ssl

_REASONS = {
    **dict.fromkeys((7, 18, 19, 20, 21), "it is not signed by this mesh's CA"),
    26: "it is not one for a server, so whoever shows it is no hub",
}
"""What OpenSSL's verify codes mean here (X509_V_ERR_..., openssl-verification-options)."""


def why(error: BaseException) -> str:
    """Why a socket could not be opened, or a name not be resolved."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused (nothing listens there)"
    if isinstance(error, ssl.SSLError):  # whose numbers are not the system's
        return str(getattr(error, "reason", None) or error.strerror or error).replace("_", " ").lower()
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return "the address is in use by another program"
    if number == errno.EADDRNOTAVAIL:
        return "the address is not one of this machine's"
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied (ports below 1024 need privileges)"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def no_agreement(text: str) -> str:
    """What the TLS library says, with the usual cause where both sides have nothing in common."""
    if "handshake failure" not in text:
        return text
    return f"{text} (the hub and its agents need the same --pqc-key-exchange and --pqc-signature)"


def unverified(error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate did not verify."""
    meaning = _REASONS.get(error.verify_code)
    return f"{meaning} ({error.verify_message})" if meaning else error.verify_message
