"""The apps that come with every agent."""

from collections.abc import Mapping

from ztm.apps.base import AppFactory
from ztm.apps.tunnel.api import TunnelApp

BUILTIN: Mapping[str, AppFactory] = {"tunnel": TunnelApp}
"""By name; their provider is ``ztm``."""
