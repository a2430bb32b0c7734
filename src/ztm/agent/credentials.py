"""What an agent shows to the hubs of a mesh, and how that is renewed in time."""

from datetime import UTC, datetime

from ztm import pki
from ztm.agent.dial import only_hubs
from ztm.agent.hublink import HubLink
from ztm.errors import CertificateError
from ztm.model import ROOT
from ztm.net.base import TlsConfig
from ztm.store.agent import MeshRow
from ztm.wire import paths


def credentials(
    row: MeshRow, identity_key: str, wall: float, known: TlsConfig | None = None, *, groups: str = ""
) -> TlsConfig:
    """The TLS credentials of a joined mesh. Root's key comes with its permit; others use the agent's own.

    What was `known` before need not be matched again: that takes an RSA key 30 ms. `groups` as in `TlsConfig`.

    Source: spec mesh-protocol 2.2.

    Raises:
        CertificateError: the permit is missing, malformed, expired, of another mesh, or made for another key.
    """
    if not row.certificate:
        raise CertificateError("there is no permit: enable the mesh with one")
    identity = pki.verify(row.certificate, row.ca, datetime.fromtimestamp(wall, UTC), server=False)
    key = row.key if identity.user == ROOT and row.key else identity_key
    is_known = known is not None and (known.key, known.certificate) == (key, row.certificate)
    if not is_known and not pki.key_matches(key, row.certificate):
        raise CertificateError(
            f"the permit of user {identity.user} was made for another key than this agent's "
            "(send the output of 'ztm identity' of this machine to root)"
        )
    return TlsConfig(ca=row.ca, certificate=row.certificate, key=key, admit=only_hubs, groups=groups)


async def renewed(row: MeshRow, tls: TlsConfig, link: HubLink, wall: float, below: int) -> str | None:
    """The certificate to go on with, of the same name and key, when fewer than `below` days are left, else None.

    It is the one that is there, if the hub's does not last longer.

    Source: spec mesh-protocol 9.3.

    Raises:
        ForbiddenError: the hub will not sign it, as the permit ends.
        ZtmError: the hub did not sign it, or signed something else.
    """
    now = datetime.fromtimestamp(wall, UTC)
    identity = pki.identity_of(row.certificate)
    if pki.days_left(identity, now) > below:
        return None
    asked = pki.public_key(tls.key).encode()
    body = await link.ask("POST", paths.fill(paths.SIGN, user=identity.user), asked)
    certificate = body.decode("ascii", "replace")
    fresh = pki.verify(certificate, row.ca, now, server=False)
    if fresh.user != identity.user or fresh.key != identity.key:
        raise CertificateError("the hub signed another name or key than was asked for")
    return certificate if fresh.not_after > identity.not_after else row.certificate
