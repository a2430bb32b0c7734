"""Who may be whom: nobody is taken for another by what it writes."""

import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import uuid4

import pytest

from hub_client import Agent, mesh
from ztm.pki import Authority, new_key, public_key


async def test_src_must_be_the_callers_own_endpoint(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob, alice = await made.agent("bob"), await made.agent("alice")
        eve = await made.connect("eve")
        for source in (bob.id, str(uuid4())):
            stream = eve.open("CONNECT", f"/api/endpoints/{alice.id}/apps/ztm/tunnel?src={source}")
            assert (await stream.answer()).status == 403
        assert (await eve.open("CONNECT", f"/api/endpoints/{alice.id}/apps/ztm/tunnel").answer()).status == 400
        assert (await eve.open("CONNECT", f"/api/endpoints/{alice.id}/apps/x?src=../y").answer()).status == 400
        assert alice.connects() == []


async def test_what_a_caller_writes_about_itself_never_reaches_the_target(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob, alice = await made.agent("bob"), await made.agent("alice")
        own = await made.connect("bob")
        forged = f"username=root&src={bob.id}&username=root&ip=9.9.9.9&port=1&src={alice.id}&x=%26username=root"
        for app in ("ztm/tunnel", "ztm/tunnel%3Fusername=root&ip=1.1.1.1"):
            stream = own.open("CONNECT", f"/api/endpoints/{alice.id}/apps/{app}?{forged}")
            assert (await stream.head()).status == 200
            told = parse_qsl(urlsplit(alice.connects()[-1][1]).query, strict_parsing=True)
            port = own.below.writer.get_extra_info("sockname")[1]
            assert told == [("src", bob.id), ("ip", "127.0.0.1"), ("port", str(port)), ("username", "bob")]


async def test_a_user_name_full_of_separators_stays_one_value(tmp_path: Path) -> None:
    name = "x&username=root#?%2F=é 网"
    async with mesh(tmp_path) as made:
        odd, alice = await made.agent(name, "ep&name=1"), await made.agent("alice")
        stream = await made.app(odd, alice.id)
        assert (await stream.head()).status == 200
        assert alice.connects()[0][1].endswith("username=" + quote(name, safe=""))
        shown = (await alice.outer.ask("GET", f"/api/endpoints/{odd.id}")).json
        assert (shown["username"], shown["name"]) == (name, "ep&name=1")


async def test_an_endpoint_id_belongs_to_the_first_user_and_key_also_after_a_restart(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        other_key = made.issue("bob", new_key())
        for _ in range(2):
            for thief in ("alice", "root", other_key):
                with pytest.raises(PermissionError, match="403"):
                    await Agent(made, thief, "ep", bob.id).connect()
            await made.restart()
        assert (await Agent(made, "bob", "ep", bob.id).connect()).heartbeat.status == 201


async def test_a_renewed_certificate_of_the_same_key_keeps_its_endpoint(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        renewed = made.issue("bob", made.credential("bob").key.read_text(), age=60)
        assert (await Agent(made, renewed, "ep", bob.id).connect()).heartbeat.status == 201


async def test_a_passive_session_is_taken_from_the_endpoints_owner_only(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob, alice = await made.agent("bob"), await made.agent("alice")
        alice.offers_passive = False
        await (await made.app(bob, alice.id)).head()
        sid = next(path for _, _, path in alice.asked if "/sessions/" in path).rpartition("/")[2]
        eve = await made.connect("eve")
        assert (await eve.open("CONNECT", f"/api/endpoints/{alice.id}?sid={sid}").answer()).status == 403


async def test_only_the_endpoints_user_is_forwarded_to_it(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        for user, status in (("bob", 200), ("alice", 403), ("root", 403)):
            asking = await made.connect(user)
            assert (await asking.ask("GET", f"/api/forward/{bob.id}/log")).status == status
        assert [path for _, _, path in bob.asked if path == "/api/log"] == ["/api/log"]


async def test_a_forwarded_request_arrives_as_it_was_written(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob")
        own = await made.connect("bob")
        assert (await own.ask("POST", f"/api/forward/{bob.id}/apps/ztm/a%2Fb%20c?x=%26&y", {"a": 1})).status == 404
        assert bob.asked[-1] == ("control", "POST", "/api/apps/ztm/a%2Fb%20c?x=%26&y")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a%0Ab", "a%5Cb", "x" * 200, "%20a"])
async def test_malformed_endpoint_names_are_refused(name: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        asking = await made.connect("bob")
        assert (await asking.open("CONNECT", f"/api/endpoints/{uuid4()}?name={name}").answer()).status == 400
        assert (await asking.ask("GET", "/api/endpoints")).json == []


@pytest.mark.parametrize("endpoint", ["x", "A" * 36, "..", "%2e%2e%2fetc", "56F6E5F7-A8B2-4363-B9D2-1623B24920D9"])
async def test_malformed_endpoint_ids_are_refused(endpoint: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        asking = await made.connect("bob")
        assert (await asking.open("CONNECT", f"/api/endpoints/{endpoint}?name=n").answer()).status == 400


# ---------------------------------------------------------------------- certificates


async def test_a_hubs_or_the_cas_certificate_is_no_users(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        key = new_key()
        hub = made.authority.sign_hub(str(uuid4()), public_key(key), made.hub.state.date())
        assert await made.is_refused(made.keep("hub", hub, key))
        assert await made.is_refused(made.keep("ca", made.authority.certificate, made.authority.key))


async def test_expired_early_and_foreign_certificates_are_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        key, day = new_key(), 86400
        assert await made.is_refused(made.issue("bob", key, age=2 * day - 60, days=1))
        assert await made.is_refused(made.issue("bob", key, age=-60))
        foreign = Authority.create(made.hub.state.date())
        stranger = foreign.sign_user("root", public_key(key), made.hub.state.date())
        assert await made.is_refused(made.keep("root", stranger, key))
        assert not await made.is_refused("bob")


async def test_a_connection_without_a_certificate_is_refused(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        context = made.credential("bob").context()
        bare = type(context)(context.protocol)
        bare.check_hostname = False
        bare.load_verify_locations(made.credential("bob").ca)
        with pytest.raises((OSError, EOFError)):
            await (await made.dial_with(bare)).probe("GET", "/api/status")


async def test_the_hub_shows_a_certificate_of_its_own_id(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        wire = await made.dial("bob")
        names = dict(part[0] for part in wire.tls.getpeercert()["subject"])
        assert names["commonName"] == f"hub/{made.hub.state.id}"


async def test_a_users_certificate_cannot_stand_on_the_hubs_side(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        made.hub._listener.renew(  # type: ignore[union-attr]
            type(made.hub._tls)(  # type: ignore[misc]
                ca=made.authority.certificate,
                certificate=made.credential("eve").certificate.read_text(),
                key=made.credential("eve").key.read_text(),
            )
        )
        with pytest.raises(OSError, match=r"unsupported certificate purpose|certificate verify failed"):
            await made.dial("bob")


async def test_v1_certificates_of_a_v1_ca_are_accepted_and_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    folder.mkdir()
    ca, ca_key = v1_certificate(folder, "ca")
    async with mesh(tmp_path, authority=Authority(ca, ca_key)) as made:
        certificate, key = v1_certificate(folder, "bob", signed_by="ca")
        bob = await made.agent(made.keep("bob", certificate, key), "v1 ep")
        assert bob.heartbeat.status == 201
        renewed = await bob.outer.ask("POST", "/api/sign/bob", bob.who.public)
        assert renewed.status == 201
        again = made.keep("bob", renewed.text, key)
        assert (await Agent(made, again, "v1 ep", bob.id).connect()).heartbeat.status == 201


def v1_certificate(folder: Path, name: str, signed_by: str = "") -> tuple[str, str]:
    """An X.509 version 1 certificate over an RSA key, as v1 makes them; PEM texts."""
    paths = {suffix: str(folder / f"{name}.{suffix}") for suffix in ("key", "csr", "pem")}
    new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
    openssl(*new, "-keyout", paths["key"], "-out", paths["csr"])
    signer = ["-signkey", paths["key"]]
    if signed_by:
        signer = ["-CA", str(folder / f"{signed_by}.pem"), "-CAkey", str(folder / f"{signed_by}.key")]
    openssl("x509", "-req", "-in", paths["csr"], *signer, "-days", "365", "-out", paths["pem"])
    assert "Version: 1 (0x0)" in openssl("x509", "-in", paths["pem"], "-noout", "-text")
    return Path(paths["pem"]).read_text(), Path(paths["key"]).read_text()


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout
