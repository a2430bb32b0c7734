"""Making the apps that come with every agent. Each is imported when it is first made: most agents run few of them."""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from ztm.apps.base import App, AppContext, AppFactory
from ztm.apps.catalog import TITLES


def _factory(name: str) -> AppFactory:
    def make(context: AppContext) -> App:
        module = import_module(f"ztm.apps.{name}.api")
        return cast("App", module.APP(context))

    return make


BUILTIN: Mapping[str, AppFactory] = {name: _factory(name) for name in TITLES}
"""Makes each of them."""
