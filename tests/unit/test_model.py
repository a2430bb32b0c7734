"""Names that can become path segments, file names, table cells and certificate names, and addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.errors import UsageError
from ztm.model import MAX_NAME, MAX_PORT, Address, check_name, check_user, check_uuid


@pytest.mark.parametrize("name", ["home", "vec ep", "日本", "a.b-c_d", "O'Neil", "x" * MAX_NAME])
def test_names_that_people_give_are_taken(name: str) -> None:
    assert check_name("endpoint", name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "../../etc", " a", "a ", "a\nb", "a\x00", "\ud800", "\u202eevil", "x" * 129]
)
def test_names_that_could_leave_their_place_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name("endpoint", name)


@given(st.text(max_size=40))
def test_a_name_that_is_taken_is_one_path_segment_and_can_be_written(name: str) -> None:
    try:
        taken = check_name("mesh", name)
    except UsageError:
        return
    assert "/" not in taken
    assert taken not in (".", "..")
    assert taken.encode()


@pytest.mark.parametrize("name", ["ca", "CA", "hub", "hub/x", "hub/56f6e5f7-a8b2-4363-b9d2-1623b24920d9"])
def test_reserved_user_names_are_never_signed(name: str) -> None:
    with pytest.raises(UsageError):
        check_user(name)


@pytest.mark.parametrize(
    "text", ["", "x", "56F6E5F7-a8b2-4363-b9d2-1623b24920d9", "{56f6e5f7-a8b2-4363-b9d2-1623b24920d9}"]
)
def test_only_lower_case_dashed_uuids_are_ids(text: str) -> None:
    with pytest.raises(UsageError):
        check_uuid("endpoint", text)


@given(st.sampled_from(["10.0.0.1", "host.example", "::1"]), st.integers(1, MAX_PORT))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:0", "host:65536", "::1:80", "a b:1", "user@host:1", "host:１"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)
