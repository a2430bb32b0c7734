"""The way from this endpoint's clients to a destination: an exit is chosen from memory, and asked.

It speaks no proxy protocol and moves no bytes. Another exit is asked where one fails, for as long as all that the
client has sent is still known.

Source: spec apps-network 2.5 and 7.
"""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from ztm.apps.base import AppContext
from ztm.apps.proxy.choice import Choice
from ztm.apps.proxy.forms import ExitShown
from ztm.apps.proxy.hosts import Host, target_text
from ztm.apps.proxy.offers import Offer, Offers, trusted
from ztm.apps.proxy.way import Passage
from ztm.apps.streams.limits import StreamLimits
from ztm.apps.streams.reach import Early, Reach, reason_of
from ztm.errors import (
    DeadlineError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
    ZtmError,
)
from ztm.net.base import Stream
from ztm.wire.paths import PROXY_DATAGRAMS, PROXY_TARGETS

Serve = Callable[[str, str, int, Early], Awaitable[Stream]]
"""Asks the exit of this endpoint itself: kind, host, port, early bytes."""


class _Silence:
    """A source of early bytes that has none: datagrams wait until an exit has accepted."""

    is_over = False

    async def read(self) -> bytes:
        """Never returns."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError


class Route:
    """See `way.Way`."""

    def __init__(self, context: AppContext, limits: StreamLimits, is_exit: Callable[[Host], bool], here: Serve) -> None:
        self._context = context
        self._limits = limits
        self._is_exit = is_exit
        """Whether this endpoint itself serves a host."""
        self._here = here
        self._choice = Choice()
        self.offers = Offers(context)
        self._from_users: tuple[str, ...] = ()

    def trust(self, from_users: tuple[str, ...]) -> None:
        """Use the exits of these users besides the own user's."""
        self._from_users = from_users
        self.offers.trust(from_users)

    async def open(self, host: str, port: int, early: Early) -> Passage:
        """See `way.Way`."""
        return await self._open(PROXY_TARGETS, host, port, early)

    async def open_datagrams(self, host: str, port: int) -> Passage:
        """See `way.Way`."""
        return await self._open(PROXY_DATAGRAMS, host, port, Early(_Silence(), self._limits.early_bytes))

    async def _open(self, kind: str, host: str, port: int, early: Early) -> Passage:
        try:
            wanted = Host.parse(host)
        except UsageError as error:
            raise NotFoundError(str(error)) from error
        target = target_text(str(wanted), port)
        failures: list[tuple[str, ZtmError]] = []
        for exit_ in await self._exits(wanted):
            begin = self._context.network.now()
            try:
                return await self._ask(kind, exit_, wanted, port, early)
            except ZtmError as error:
                if early.broken is not None:
                    raise  # the client broke off: no exit has failed
                self._note(exit_, error, self._context.network.now() - begin)
                failures.append((exit_, error))
        raise self._failure(target, failures)

    async def _exits(self, host: Host) -> list[str]:
        """Those that serve `host`, in the order in which to ask; none is known at the start, so a little is waited."""
        exits = self._serving(host)
        if not exits:
            await self.offers.settled(self._limits.exit_wait)
            exits = self._serving(host)
        return self._choice.order(exits, str(host), self._context.network.now())

    def _serving(self, host: Host) -> list[str]:
        exits = [self._context.place.id] if self._is_exit(host) else []
        user = self._context.user
        return list(dict.fromkeys([*exits, *(one.endpoint for one in self.offers.all() if one.serves(host, user))]))

    async def _ask(self, kind: str, exit_: str, host: Host, port: int, early: Early) -> Passage:
        begin = self._context.network.now()
        if exit_ == self._context.place.id:
            stream = await self._here(kind, str(host), port, early)
        else:
            path = kind.replace("{target}", quote(target_text(str(host), port), safe="[]:"))
            stream = await Reach(path, self._context, self._limits).ask(exit_, early)
        self._choice.accepted(exit_, str(host), self._context.network.now() - begin)
        return Passage(stream, exit_)

    def _note(self, exit_: str, error: ZtmError, seconds: float) -> None:
        """An exit that said no works, also if a destination was too slow for it; one that is silent is left alone."""
        is_answer = isinstance(error, DeadlineError) and seconds < self._limits.answer_seconds
        if is_answer or isinstance(error, ForbiddenError | NotFoundError | RefusedError):
            self._choice.refused(exit_, str(error))
        else:
            self._choice.failed(exit_, self._context.network.now(), str(error))

    def _failure(self, target: str, failures: list[tuple[str, ZtmError]]) -> ZtmError:
        """What all exits together come to, by the answer that says most."""
        if not failures:
            whose = trusted(self._from_users, self._context.user)
            return NotFoundError(f"no exit is known for {target}: no endpoint of {whose} serves it")
        reason = f"{target}: " + "; ".join(reason_of(exit_, error) for exit_, error in failures)
        for kind in (ForbiddenError, RefusedError, DeadlineError, NotFoundError):
            if any(isinstance(error, kind) for _, error in failures):
                return kind(reason)
        return UnreachableError(reason)

    # ------------------------------------------------------------------ shown

    def refresh(self) -> None:
        """Mesh files may have changed: take note of exits that are new, and forget those that are no more."""
        self.offers.refresh()
        self._choice.keep([self._context.place.id, *(one.endpoint for one in self.offers.all())])

    def shown(self, own: Offer | None) -> list[ExitShown]:
        """The exits known, the own one first."""
        return [self._exit(one) for one in ([own] if own else []) + self.offers.all()]

    def _exit(self, offer: Offer) -> ExitShown:
        standing = self._choice.standing(offer.endpoint)
        made = ExitShown(offer.endpoint, offer.user, list(offer.targets.entries), list(offer.exclusions.entries))
        if standing.seconds is not None:
            made.seconds = round(standing.seconds, 6)
        if (left := standing.held_until - self._context.network.now()) > 0:
            made.heldOff = round(left, 3)
        if standing.reason:
            made.lastError = standing.reason
        return made
