"""How origins are recognised: by the system's certificates, and those of one file more if the owner named one.

There is no way to turn verification off.
"""

import ssl
from collections import OrderedDict

from ztm.errors import UsageError

KEPT = 16
"""Contexts at once; they differ by the protocols offered, which are the client's word."""


class Origins:
    """Contexts for dialling origins."""

    def __init__(self, extra_ca: str) -> None:
        self._extra_ca = extra_ca
        self._contexts: OrderedDict[tuple[str, ...], ssl.SSLContext] = OrderedDict()

    def context(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        """One that verifies the origin's certificate and name, and offers `alpn`.

        Raises:
            UsageError: the file of further certificates cannot be read.
        """
        if alpn not in self._contexts:
            self._contexts[alpn] = self._make(alpn)
            if len(self._contexts) > KEPT:
                self._contexts.popitem(last=False)
        return self._contexts[alpn]

    def check(self) -> None:
        """Make sure that the file can be used.

        Raises:
            UsageError: it cannot.
        """
        self.context(())

    def _make(self, alpn: tuple[str, ...]) -> ssl.SSLContext:
        made = ssl.create_default_context()
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._extra_ca:
            try:
                made.load_verify_locations(self._extra_ca)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                raise UsageError(f"the certificates in {self._extra_ca} cannot be used: {error}") from error
        if alpn:
            made.set_alpn_protocols(list(alpn))
        return made
