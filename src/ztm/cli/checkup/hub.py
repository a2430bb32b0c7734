"""Checks of the way to a hub: its name, its port, its TLS, and its certificate against the mesh's CA.

No certificate of ours is shown, so a hub sees a stranger who leaves; whether it takes us in is the agent's word.
"""

import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ztm.cli.checkup.certificate import utc_now
from ztm.cli.checkup.findings import Check, Finding
from ztm.errors import CertificateError
from ztm.model import Address

PATIENCE = 5.0
"""Seconds for a connection, and again for the TLS handshake."""

CERTIFICATE = ": certificate"
"""Ends the name of that check."""


def hub_check(address: Address, ca: str, where: str, *, is_needed: bool = True) -> Check:
    """A check of the hub at `address`, which is to show a certificate of `ca`; `where` begins what is told of it.

    One that is not needed, since the agent has its way to the mesh, by a proxy or another hub say, may be out of reach
    with a warning. To show a wrong certificate is a failure all the same.
    """
    what = f"{where}: hub {address}"

    def run() -> list[Finding]:
        found = list(_way(address, ca, what))
        return found if is_needed else [_softened(one) for one in found]

    return Check(what, run)


def _softened(finding: Finding) -> Finding:
    if finding.level != "fail" or finding.what.endswith(CERTIFICATE):
        return finding
    return replace(finding, level="warn", why=f"{finding.why} (from here; the agent is connected to the mesh)")


def _way(address: Address, ca: str, what: str) -> Iterator[Finding]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        why = f"the name '{address.host}' cannot be resolved: {error.strerror or error}"
        yield Finding(
            "fail", f"{what}: name", why, f"check the spelling and this machine's DNS: getent hosts {address.host}"
        )
        return
    ips = list(dict.fromkeys(str(one[4][0]) for one in found))
    yield Finding("ok", f"{what}: name", ", ".join(ips))
    try:
        connection = socket.create_connection((address.host, address.port), PATIENCE)
    except OSError as error:
        why = f"no TCP connection: {_why(error)}"
        yield Finding("fail", f"{what}: TCP", why, "see that the hub runs, and that firewalls let its port through")
        return
    with connection:
        yield Finding("ok", f"{what}: TCP", "connected")
        yield from _tls(connection, ca, what)


def _tls(connection: socket.socket, ca: str, what: str) -> Iterator[Finding]:
    try:
        with _context().wrap_socket(connection) as session:
            shown, version = session.getpeercert(binary_form=True), session.version()
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"):
            yield Finding("fail", f"{what}: TLS", "what listens there does not speak TLS", "check the hub's address")
        else:
            why = f"the handshake ended early ({error.reason or error}), so its certificate was not seen"
            yield Finding("warn", f"{what}: TLS", why, _remedy(error.reason or ""))
        return
    except OSError as error:
        do = "see that a hub listens there, and that nothing between opens TLS"
        yield Finding("fail", f"{what}: TLS", f"the handshake failed: {_why(error)}", do)
        return
    yield Finding("ok", f"{what}: TLS", str(version))
    yield from _certificate(shown or b"", ca, what)


def _remedy(reason: str) -> str:
    if "HANDSHAKE_FAILURE" not in reason:
        return "see that nothing between here and the hub opens TLS"
    return (
        "a hub with --pqc-key-exchange or --pqc-signature does so with this check, which uses Python's ssl, and with "
        "agents that lack the same options"
    )


def _certificate(shown: bytes, ca: str, what: str) -> Sequence[Finding]:
    from ztm import pki

    now = utc_now()
    try:
        identity = pki.verify(shown, ca, now, server=True)
    except CertificateError as error:
        do = "compare this machine's clock and the permit with root's: another mesh's hub may listen there"
        return (Finding("fail", what + CERTIFICATE, str(error), do),)
    if not identity.is_hub:
        why = f"it shows the certificate of '{identity.user}', which is no hub's"
        return (Finding("fail", what + CERTIFICATE, why, "do not use this hub; tell root"),)
    why = f"{identity.user}, of this mesh, {pki.days_left(identity, now)} days left"
    return (Finding("ok", what + CERTIFICATE, why),)


def _context() -> ssl.SSLContext:
    """TLS as agents speak it, but for the judgement of certificates, which `pki.verify` does in words."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _why(error: OSError) -> str:
    return "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
