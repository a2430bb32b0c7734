"""The user name and password that clients of the proxy's port must give; of the password only a hash is kept.

It never shows the password or the hash, and it says no more of a wrong pair than that it is wrong.
"""

import asyncio
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import scrypt, sha256
from typing import Self

from ztm.errors import UsageError

MAX_BYTES = 255
"""Of either, in UTF-8: what SOCKS5 can carry (RFC 1929 section 2)."""
_COST, _BLOCK, _LANES = 1 << 13, 8, 1
"""Scrypt's N, r and p: 8 MiB and some 20 ms of a thread, once for each client (RFC 7914 section 2)."""
_SALT_BYTES = 16
_REMEMBERED = 64
"""Wrong pairs that are not hashed again: one client that asks again and again costs nothing."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One user name and the hash of its password."""

    user: str
    secret: str = field(repr=False)
    """``scrypt$N$r$p$salt$hash``, the last two in base64."""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False, compare=False)
    _right: set[bytes] = field(default_factory=set, repr=False, compare=False)
    _wrong: dict[bytes, None] = field(default_factory=dict, repr=False, compare=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)
    """Whose hash is being made: clients that guess have one thread between them, and get no more of the machine."""

    @classmethod
    def create(cls, user: str, password: str) -> Self:
        """Credentials with a fresh salt.

        Raises:
            UsageError: either is empty, too long, has a control character, or the name has a colon.
        """
        _check("user name", user)
        _check("password", password)
        if ":" in user:  # RFC 7617 section 2: it would end the name
            raise UsageError("a proxy user name cannot have a colon")
        salt = secrets.token_bytes(_SALT_BYTES)
        made = _hash(password, salt, _COST, _BLOCK, _LANES)
        parts = (str(_COST), str(_BLOCK), str(_LANES), b64encode(salt).decode(), b64encode(made).decode())
        return cls(user, "$".join(("scrypt", *parts)))

    @classmethod
    def parse(cls, user: str, secret: str) -> Self:
        """Credentials as they were stored.

        Raises:
            UsageError: `secret` is not such a hash.
        """
        _read(secret)
        return cls(user, secret)

    async def check(self, user: str, password: str) -> bool:
        """Whether this is the pair; one that was seen before costs one digest, and waits for nobody."""
        seen = hmac.digest(self._key, f"{len(user)}:{user}{password}".encode("utf-8", "surrogatepass"), sha256)
        known = self._known(seen)
        if known is None:
            async with self._turn:
                known = self._known(seen)  # it may have been shown on another connection as well
                if known is None:
                    known = await _off_loop(lambda: self._is_right(user, password))
                    self._remember(seen, known)
        return known

    def _known(self, seen: bytes) -> bool | None:
        """Whether a pair is right, if it was seen before."""
        if seen in self._right:
            return True
        return False if seen in self._wrong else None

    def _remember(self, seen: bytes, is_right: bool) -> None:
        if is_right:
            self._right.add(seen)
            return
        self._wrong[seen] = None
        if len(self._wrong) > _REMEMBERED:
            del self._wrong[next(iter(self._wrong))]

    def _is_right(self, user: str, password: str) -> bool:
        if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            return False
        salt, wanted, cost, block, lanes = _read(self.secret)
        made = _hash(password, salt, cost, block, lanes)
        named = hmac.compare_digest(user.encode("utf-8", "surrogatepass"), self.user.encode())
        return hmac.compare_digest(made, wanted) and named


async def _off_loop(work: Callable[[], bool]) -> bool:
    """What `work` gives, in a thread. Cancelling it waits for the thread, which cannot be stopped."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    finally:
        await asyncio.wait((working,))


def _hash(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    memory = 256 * cost * block
    return scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=block, p=lanes, maxmem=memory, dklen=32
    )


def _read(secret: str) -> tuple[bytes, bytes, int, int, int]:
    try:
        kind, cost, block, lanes, salt, wanted = secret.split("$")
        numbers = int(cost), int(block), int(lanes)
        if kind != "scrypt" or max(numbers) > 1 << 17:
            raise ValueError
        return b64decode(salt, validate=True), b64decode(wanted, validate=True), *numbers
    except ValueError:
        raise UsageError("the stored hash of the proxy's password is damaged: set the password again") from None


def _check(what: str, text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_BYTES or not text.isprintable():
        raise UsageError(f"a proxy {what} has 1 to {MAX_BYTES} bytes, and no control characters")
