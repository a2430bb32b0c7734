"""What holds for all URLs, messages and splits."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from ztm.errors import UsageError
from ztm.model import Acl, Endpoint, FileInfo, Version
from ztm.wire import codec, datagram, paths
from ztm.wire.datagram import Decoder
from ztm.wire.records import Heartbeat

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NAME = TEXT.filter(bool)
TIME = st.integers(0, 2**53)


@given(NAME, NAME, NAME)
def test_parameters_survive_fill_and_match(ep, provider, app):
    target = paths.fill(paths.ENDPOINT_APP, ep=ep, provider=provider, app=app)
    found = paths.match(paths.ENDPOINT_APP, paths.split(target)[0])
    assert found is not None
    assert {key: paths.decode(value) for key, value in found.items()} == {"ep": ep, "provider": provider, "app": app}


@given(st.lists(NAME, min_size=1).map("/".join).filter(lambda rest: not rest.startswith("/")))
def test_the_rest_survives_fill_and_match(rest):
    found = paths.match(paths.FILE, paths.fill(paths.FILE, rest=rest))
    assert found is not None
    assert paths.decode(found["rest"]) == rest


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), TEXT | st.integers()))
def test_queries_survive_fill_and_split(query):
    path, found = paths.split(paths.fill(paths.ENDPOINTS, query))
    assert path == paths.ENDPOINTS
    assert found == {key: str(value) for key, value in query.items()}


@given(TEXT)
def test_no_target_breaks_split_or_match(target):
    try:
        path, _ = paths.split(target)
    except UsageError:
        return
    for template in (paths.ENDPOINT_APP, paths.FILE, paths.HUB_STATUS):
        paths.match(template, path)


@st.composite
def frames(draw):
    """A message as some peer may frame it, and its payload."""
    parts = draw(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
    stream = b""
    for at, part in enumerate(parts):
        final = 0x80 if at == len(parts) - 1 else 0
        mask = draw(st.none() | st.binary(min_size=4, max_size=4))
        form = draw(st.sampled_from([7, 16, 64]))
        size = len(part)
        masked = 0x80 if mask is not None else 0
        stream += bytes([final | draw(st.integers(0, 15))])
        if form == 7 and size < 126:
            stream += bytes([masked | size])
        elif form == 64:
            stream += bytes([masked | 127]) + size.to_bytes(8, "big")
        else:
            stream += bytes([masked | 126]) + size.to_bytes(2, "big")
        stream += mask or b""
        stream += bytes(byte ^ mask[i % 4] for i, byte in enumerate(part)) if mask is not None else part
    return stream, b"".join(parts)


@given(st.lists(frames(), max_size=5), st.data())
def test_datagrams_survive_any_framing_split_anywhere(messages, data):
    stream = b"".join(framed for framed, _ in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found == [payload for _, payload in messages if payload]


@given(st.lists(st.binary(max_size=70000), max_size=4))
def test_what_is_encoded_is_decoded_byte_by_byte_or_whole(payloads):
    sent = [payload for payload in payloads if 0 < len(payload) <= datagram.MAX_PAYLOAD]
    stream = b"".join(map(datagram.encode, sent))
    assert Decoder().feed(stream) == sent


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_a_usage_error(data):
    with contextlib.suppress(UsageError):
        assert all(Decoder().feed(data))


@given(
    st.builds(
        Endpoint,
        id=TEXT,
        name=TEXT,
        user=TEXT,
        ip=TEXT,
        port=st.integers(0, 65535),
        hubs=st.lists(TEXT).map(tuple),
        version=st.builds(Version, TEXT, TEXT, TEXT, TEXT),
        labels=st.lists(TEXT).map(tuple),
        heartbeat_ms=TIME,
        ping_ms=st.none() | TIME,
        online=st.booleans(),
        control_sessions=TIME,
        passive_sessions=TIME,
    )
)
def test_every_endpoint_survives_its_json(endpoint):
    assert codec.decode_endpoint(codec.encode_endpoint(endpoint)) == endpoint


FILE = st.builds(FileInfo, TEXT, st.integers(-1, 2**53), TIME, TIME)


@given(st.dictionaries(TEXT, FILE))
def test_every_file_map_survives_its_json(files):
    assert codec.decode_files(codec.encode_files(files, since=True)) == files


@given(
    st.dictionaries(TEXT, st.tuples(TEXT, st.dictionaries(TEXT, NAME), TIME)),
    st.builds(Heartbeat, name=TEXT, hubs=st.lists(TEXT).map(tuple), labels=st.lists(TEXT).map(tuple), runtime=TEXT),
)
def test_acls_and_heartbeats_survive_their_json(entries, heartbeat):
    acls = {path: Acl(path, *entry) for path, entry in entries.items()}
    assert codec.decode_acls(codec.encode_acls(acls.values())) == acls
    assert codec.decode_heartbeat(codec.encode_heartbeat(heartbeat)) == heartbeat


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT | st.sampled_from(["id", "#", "$", "T", "agent"]), inner),
)


DECODERS = [getattr(codec, name) for name in codec.__all__ if name.startswith("decode_")]


@given(JSON)
def test_no_json_raises_anything_but_a_usage_error(value):
    body = json.dumps(value).encode()
    for decode in DECODERS:
        with contextlib.suppress(UsageError):
            decode(body, "h") if decode is codec.decode_hub else decode(body)
