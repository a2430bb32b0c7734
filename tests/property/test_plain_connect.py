"""A CONNECT that is read without a parser is read as the parser reads it."""

from hypothesis import example, given
from hypothesis import strategies as st

from ztm.net.http1_head import BadHeadError, parse, plain_connect
from ztm.net.scope import HttpLimits

NAMES = st.sampled_from(
    ["Host", "host", "connection", "Content-Length", "TRANSFER-ENCODING", "x-a", "X_b", "hosts", "", "a b"]
)
VALUES = st.text("abc=0 \t:\r\n\x00\x7f\xe9/-", max_size=8)
LINES = st.builds("{}{}{}\r\n".format, NAMES, st.sampled_from([": ", ":", " : ", ":  "]), VALUES)
TARGETS = st.text("/ab%?#= \t\x7f\xe9", max_size=12)
HEADS = st.builds(
    "{} {} HTTP/{}\r\n{}\r\n".format,
    st.sampled_from(["CONNECT", "connect", "GET"]),
    st.one_of(TARGETS, TARGETS.map("/".__add__)),
    st.sampled_from(["1.1", "1.0", "2"]),
    st.lists(LINES, max_size=4).map("".join),
)


@given(HEADS.map(lambda head: head.encode("latin-1")))
@example(b"CONNECT /api/outbound/tcp/web HTTP/1.1\r\nconnection: keep-alive\r\n\r\n")
@example(b"CONNECT / HTTP/1.1\r\n\r\n")
def test_what_is_read_plainly_is_what_the_parser_reads(head: bytes) -> None:
    plain = plain_connect(head)
    if plain is None:
        return
    try:
        _, request = parse(head, HttpLimits())
    except BadHeadError as error:
        raise AssertionError(f"the parser refuses {head!r}: {error}") from error
    fields = [field for field in request.headers if field[0] != b"host"]
    assert (b"CONNECT", request.method, request.http_version) == (request.method, b"CONNECT", b"1.1")
    assert plain == (request.target, fields)


def test_the_heads_that_mesh_peers_send_need_no_parser() -> None:
    assert plain_connect(b"CONNECT /api/outbound/tcp/web HTTP/1.1\r\n\r\n") == (b"/api/outbound/tcp/web", [])
    assert plain_connect(b"CONNECT /x HTTP/1.1\r\nConnection: keep-alive\r\n\r\n") == (
        b"/x",
        [(b"connection", b"keep-alive")],
    )


def test_what_speaks_of_a_host_or_a_body_is_left_to_the_parser() -> None:
    for field in (b"Host: a", b"content-length: 0", b"Transfer-Encoding: chunked"):
        assert plain_connect(b"CONNECT /x HTTP/1.1\r\n" + field + b"\r\n\r\n") is None
