"""Permits: the file that carries a user into a mesh.

The JSON is v1's, field by field, so that permits go both ways. A permit that was parsed is known to be
good at that moment; whether the hubs it names answer is for the agent to find out.
"""

import json
from datetime import datetime
from typing import Any

from ztm import model
from ztm.errors import CertificateError, UsageError
from ztm.model import Address, Identity, Permit
from ztm.pki import certificates, keys


def parse_permit(text: str, now: datetime) -> Permit:
    """Read a permit and check it whole at `now` (aware UTC); unknown fields are ignored.

    Raises:
        CertificateError: it is not a permit, lacks a part, or `check_permit` refuses it.

    Source: spec mesh-protocol 2.3.
    """
    permit = _read(text)
    check_permit(permit, now)
    return permit


def check_permit(permit: Permit, now: datetime) -> Identity:
    """The user that `permit` makes of its holder at `now` (aware UTC).

    Raises:
        CertificateError: the certificate is not of the permit's CA, is expired or not valid yet, names no
            user, or does not fit the private key that came along.
    """
    identity = certificates.verify(permit.certificate, permit.ca, now, server=False)
    try:
        model.check_user(identity.user)
    except UsageError as error:
        raise CertificateError(f"the permit does not name a user: {error}") from None
    if permit.key is not None and not certificates.key_matches(permit.key, permit.certificate):
        raise CertificateError("the permit's private key does not belong to its user certificate")
    return identity


def format_permit(permit: Permit) -> str:
    """The permit as v1 writes it: one line of JSON without a newline at the end.

    The text holds the private key where the permit has one: write it to a private file, never to a log.
    """
    agent: dict[str, Any] = {"certificate": permit.certificate}
    if permit.key is not None:
        agent["privateKey"] = permit.key
    if permit.labels:
        agent["labels"] = list(permit.labels)
    value = {"ca": permit.ca, "agent": agent, "bootstraps": [str(address) for address in permit.bootstraps]}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _read(text: str) -> Permit:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise CertificateError("invalid format of permit: not JSON") from None
    if not isinstance(value, dict):
        raise CertificateError("invalid format of permit: not a JSON object")
    agent = value.get("agent") or {}
    if not isinstance(agent, dict):
        raise CertificateError("invalid format of permit: 'agent' is not an object")
    key = _text(agent, "privateKey")
    return Permit(
        ca=certificates.check_ca(_present(_text(value, "ca"), "CA certificate")),
        certificate=certificates.check_certificate(_present(_text(agent, "certificate"), "user certificate")),
        bootstraps=_bootstraps(value.get("bootstraps")),
        key=keys.check_private_key(key) if key else None,
        labels=_labels(agent.get("labels")),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name) or ""
    if not isinstance(value, str):
        raise CertificateError(f"invalid format of permit: {name!r} is not a text")
    return value


def _present(value: str, what: str) -> str:
    if not value:
        raise CertificateError(f"permit missing {what}")
    return value


def _bootstraps(value: object) -> tuple[Address, ...]:
    if not isinstance(value, list) or not value:
        raise CertificateError("permit missing bootstraps")
    return tuple(_bootstrap(entry) for entry in value)


def _bootstrap(entry: object) -> Address:
    """A bootstrap always names its port after a colon; `Address` alone would also take a bare port."""
    try:
        if isinstance(entry, str) and ":" in entry:
            return Address.parse(entry)
    except UsageError as error:
        raise CertificateError(f"permit has an invalid bootstrap address: {error}") from None
    raise CertificateError(f"permit has an invalid bootstrap address: {entry!r} (write host:port)")


def _labels(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise CertificateError("invalid format of permit: 'labels' is not a list of texts")
    return tuple(value)
