"""What a failed attempt to connect is shown as."""

import pytest

from ztm.agent.state import EvictedError, Health, RefusalError, State, is_final, judge
from ztm.errors import (
    BrokenStreamError,
    CertificateError,
    DeadlineError,
    ForbiddenError,
    LimitError,
    NotFoundError,
    RefusedError,
    StorageError,
    UnreachableError,
    UsageError,
    ZtmError,
)

SHOWN = [
    (EvictedError("user bob is evicted"), State.EVICTED),
    (RefusalError("go away"), State.REFUSED),
    (ForbiddenError("not yours"), State.REFUSED),
    (LimitError("100 agents"), State.FULL),
    (CertificateError("expired"), State.BAD_PERMIT),
    (UnreachableError("nobody listens"), State.UNREACHABLE),
    (DeadlineError("too late"), State.UNREACHABLE),
    (BrokenStreamError("cut"), State.UNREACHABLE),
    (RefusedError("oops", answer=500), State.UNREACHABLE),
    (NotFoundError("what?"), State.UNREACHABLE),
    (UsageError("malformed hub status"), State.UNREACHABLE),
    (StorageError("disk full"), State.UNREACHABLE),
    (ZtmError("anything"), State.UNREACHABLE),
]


@pytest.mark.parametrize(("error", "state"), SHOWN, ids=lambda value: type(value).__name__)
def test_each_failure_has_its_state_and_keeps_its_reason(error: ZtmError, state: State) -> None:
    health = judge(error)
    assert health.state is state
    assert str(error) in health.reason


@pytest.mark.parametrize("state", State)
def test_only_what_a_person_must_change_is_final(state: State) -> None:
    wanted = state in {State.EVICTED, State.REFUSED, State.FULL, State.BAD_PERMIT}
    assert is_final(Health(state)) is wanted


def test_no_failure_is_shown_as_connected_or_connecting() -> None:
    assert not {judge(error).state for error, _ in SHOWN} & {State.CONNECTED, State.CONNECTING, State.OFFLINE}
