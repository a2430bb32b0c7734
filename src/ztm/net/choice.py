"""Which implementation of the network this process uses: the native one where it is installed, or as `ZTM_NET` says.

The native one is loaded only when it is chosen, by those who carry streams; the command line does not.
"""

import importlib.util
import os

from ztm.errors import UsageError
from ztm.net.aio import AioNetwork
from ztm.net.proxy import Proxy

VARIABLE = "ZTM_NET"
"""The environment variable that chooses."""
KINDS = ("aio", "native")
"""What it may say: asyncio in pure Python, or the package `ztm-native`."""
PACKAGE = "ztm_native"


def implementation() -> type[AioNetwork]:
    """The class of the network that was chosen.

    Raises:
        UsageError: `ZTM_NET` names none, or one that is not installed.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen not in ("", *KINDS):
        raise UsageError(f"{VARIABLE} is {chosen[:20]!r}: it is one of {', '.join(KINDS)}, or not set")
    if chosen == "aio" or (not chosen and importlib.util.find_spec(PACKAGE) is None):
        return AioNetwork
    try:
        from ztm.net.native.network import NativeNetwork
    except ImportError as error:
        raise UsageError(
            f"the native network cannot be loaded ({error}): install ztm-native, or set {VARIABLE}=aio"
        ) from error
    return NativeNetwork


def network(proxy: Proxy | None = None) -> AioNetwork:
    """The network of this process; what is dialled with TLS is dialled through `proxy` if there is one.

    Raises:
        UsageError: `ZTM_NET` names none, or one that is not installed.
    """
    return implementation()(proxy)
