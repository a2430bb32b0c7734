"""What an app's session leaves behind, however it ends."""

import asyncio

import pytest
from app_mesh import MemoryAudit

from ztm.apps.audit import ENDED, Trail, audited
from ztm.core.access import judge
from ztm.errors import ForbiddenError, RefusedError
from ztm.model import Peer


def trail() -> Trail:
    return Trail(side="exit", peer=Peer("alice"), action="connect", subject="x")


def test_a_session_that_ends_well_is_written_once():
    audit = MemoryAudit()
    with audited(audit, trail()) as begun:
        assert audit.begun == [begun]
        assert audit.trails == []
        begun.decide(judge("alice", [], "alice"))
    (written,) = audit.trails
    assert (written.is_allowed, written.rule, written.reason) == (True, "owner", ENDED)


def test_a_refusal_is_written_as_one_with_its_reason():
    audit = MemoryAudit()
    with pytest.raises(ForbiddenError), audited(audit, trail()):
        raise ForbiddenError("not you")
    (written,) = audit.trails
    assert (written.is_allowed, written.reason) == (False, "not you")


def test_a_failure_is_its_reason_and_no_refusal():
    audit = MemoryAudit()
    with pytest.raises(RefusedError), audited(audit, trail()):
        raise RefusedError("the target said no")
    assert (audit.trails[0].is_allowed, audit.trails[0].reason) == (True, "the target said no")


async def test_a_session_that_is_cut_from_outside_is_written():
    audit = MemoryAudit()

    async def session() -> None:
        with audited(audit, trail()):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(session())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert audit.trails[0].reason == "cut: CancelledError"


def test_an_unexpected_failure_shows_no_more_than_its_kind():
    audit = MemoryAudit()
    with pytest.raises(RuntimeError), audited(audit, trail()):
        raise RuntimeError("a secret")
    assert audit.trails[0].reason == "cut: RuntimeError"
