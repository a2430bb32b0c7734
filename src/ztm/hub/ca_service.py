"""Talking to an external CA service: its certificate, and its signature under a public key, over HTTP.

What it answers is text from elsewhere; whether that proves anything is judged by `hub/authority.py`. It follows no
redirect, uses no proxy, and shows its token to nobody but the service.

Source: spec cli.md section 6, "External CA service".
"""

import ssl
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlsplit

from ztm.errors import (
    CertificateError,
    DeadlineError,
    RefusedError,
    TooLargeError,
    UnreachableError,
    UsageError,
    ZtmError,
)

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

PATH = "/api/certificates"
"""v1's default, where the URL has no path of its own."""
TIMEOUT = 10.0
"""Seconds for the service to answer."""
MAX_ANSWER = 64 << 10
"""Bytes: far more than one certificate, the largest post-quantum ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaService:
    """Where the service is, and how it is known to be the right one."""

    scheme: str
    """``https`` or ``http``."""
    host: str
    port: int
    path: str
    """Without a slash at the end."""
    trust: str = ""
    """Certificates (PEM) trusted for https instead of the system's."""
    token: str = field(default="", repr=False)
    """Shown as a bearer token; empty for none."""

    @classmethod
    def parse(cls, url: str, *, trust: str = "", token: str = "", is_plain_allowed: bool = False) -> Self:
        """Read ``https://host[:port][/path]``; plain ``http`` is for this machine only unless allowed.

        Raises:
            UsageError: it is no such URL, or it is plain http to another machine, or a token would cross it.
            CertificateError: `trust` holds no certificate.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            raise UsageError(f"not the URL of a CA service: {url!r} (the port is malformed)") from None
        if parts.username is not None or parts.password is not None:
            raise UsageError("the URL of the CA service holds a user or password; use --ca-token-file")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"not the URL of a CA service: {url!r} (write https://host:port/path)")
        _check_plain(parts.scheme, parts.hostname, token, is_plain_allowed=is_plain_allowed)
        if trust:
            _trusting(trust)
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or (443 if parts.scheme == "https" else 80),
            path=parts.path.rstrip("/") or PATH,
            trust=trust,
            token=token,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_exposed(self) -> bool:
        """Whether plain http leaves this machine: whoever is between can then forge every certificate."""
        return self.scheme == "http" and not _is_loopback(self.host)

    def certificate(self) -> str:
        """The CA's own certificate, as it was sent. Blocks for `TIMEOUT` at most.

        Raises:
            ZtmError: the service is not reachable, is not trusted, or refuses.
        """
        return self._ask("GET", "ca")

    def sign(self, name: str, public_key: str) -> str:
        """The certificate for `name` over `public_key` (PEM), as it was sent. Blocks for `TIMEOUT` at most.

        Raises:
            ZtmError: the service is not reachable, is not trusted, or refuses.
        """
        return self._ask("POST", name, public_key.encode())

    def _ask(self, method: str, name: str, body: bytes = b"") -> str:
        from http.client import HTTPException  # memory that a hub with its own CA does not need

        connection = self._connection()
        headers = {"Content-Type": "text/plain"} if body else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        deadline = time.monotonic() + TIMEOUT
        try:
            connection.request(method, f"{self.path}/{quote(name, safe='/')}", body or None, headers)
            answer = connection.getresponse()
            text = _read(answer, deadline)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(f"the CA service {self} is not trusted: {error.verify_message}") from None
        except TimeoutError:
            raise DeadlineError(f"the CA service {self} did not answer within {TIMEOUT:g} s") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(f"cannot use the CA service {self}: {reason}") from None
        finally:
            connection.close()
        if answer.status not in (200, 201):
            raise self._refusal(name, answer.status)
        return text

    def _connection(self) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        if self.scheme == "http":
            return HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        return HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=_trusting(self.trust))

    def _refusal(self, name: str, status: int) -> ZtmError:
        if status in (401, 403):
            told = "does not take this token" if self.token else "wants a token: give --ca-token-file"
            return RefusedError(f"the CA service {self} {told} (status {status})", status)
        return RefusedError(f"the CA service {self} refused {name!r} with status {status}", status)


def _read(answer: "HTTPResponse", deadline: float) -> str:
    data = b""
    while more := answer.read1(8192):
        data += more
        if len(data) > MAX_ANSWER:
            raise TooLargeError(f"the CA service answered with more than {MAX_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return data.decode("ascii", "replace")


def _trusting(trust: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=trust or None)
    except (ssl.SSLError, ValueError):
        raise CertificateError("--ca-cert holds no certificate (expected PEM with BEGIN CERTIFICATE)") from None


def _check_plain(scheme: str, host: str, token: str, *, is_plain_allowed: bool) -> None:
    if scheme == "https" or _is_loopback(host):
        return
    if not is_plain_allowed:
        raise UsageError(
            f"the CA service at {host} would be asked over plain http, which anyone between can forge: "
            "use https, or accept that with --insecure-ca"
        )
    if token:
        raise UsageError(f"a token never goes over plain http to another machine ({host}): use https")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
