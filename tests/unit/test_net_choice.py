"""Which implementation of the network a process uses."""

import importlib.util
import sys

import pytest

from ztm.errors import UsageError
from ztm.net import choice
from ztm.net.aio import AioNetwork


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "aio")
    assert type(choice.network()) is AioNetwork


def test_an_unknown_name_is_an_error_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "fast")
    with pytest.raises(UsageError, match="aio, native"):
        choice.network()


def test_without_the_package_it_is_aio_and_asking_for_native_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in list(sys.modules):
        if name.startswith("ztm.net.native"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, choice.PACKAGE, None)
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    assert type(choice.network()) is AioNetwork
    monkeypatch.setenv(choice.VARIABLE, "native")
    with pytest.raises(UsageError, match="install ztm-native"):
        choice.network()
