"""Who may ask what. A request that a proxy forwarded stands here for one from another machine."""

import asyncio
import ipaddress
import os
from hashlib import sha256

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from node import control
from node.api.app import settings_of
from node.api.auth import Access, Origin, load_tokens, origin_of
from node.api.limits import Limits
from node.config import HttpConfig
from node.errors import ConfigError
from tests.node.api.serving import ELSEWHERE, ServedNode, serving
from tests.node.test_core import new_group, run_to_founded

TOKEN = "b04c5d0f3e5a4f0d9c64"
ACCESS = Access(tokens=(sha256(TOKEN.encode()).digest(), sha256(b"another token of ours").digest()))
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PRIVATE = ("/metrics", "/v1/status")
PUBLIC = ("/v1/snapshots", "/v1/roots/20", "/v1/tree/20", "/v1/trace/20", "/v1/changes/21", "/health", "/ready")


@pytest.fixture
def node(tmp_path) -> ServedNode:
    group = new_group(tmp_path)
    run_to_founded(group)
    return ServedNode(group, tmp_path)


def asked(node, folder, *paths, access=ACCESS, **how):
    async def main():
        async with serving(node, folder, access=access) as server:
            return [await server.ask(path, **how) for path in paths]

    return asyncio.run(main())


def test_on_this_machine_everything_is_open_where_nothing_is_configured(node, tmp_path):
    assert [status for status, _, _ in asked(node, tmp_path, *PRIVATE, access=Access())] == [200, 200]


NETWORK = ipaddress.ip_network("10.0.0.0/8")


@pytest.mark.parametrize("access", [ACCESS, Access((NETWORK,)), Access((NETWORK,), ACCESS.tokens)])
def test_once_it_is_said_who_may_ask_loopback_is_no_proof(node, tmp_path, access):
    """A proxy that adds no header cannot be told from the operator."""
    assert [status for status, _, _ in asked(node, tmp_path, *PRIVATE, access=access)] == [401, 401]
    found = asked(node, tmp_path, "/health", "/ready", access=access)
    assert [set(body) for _, body, _ in found] == [{"ok"}, {"ready"}], "yes or no, and no account"
    expected = [200, 200] if access.tokens else [401, 401]
    assert [status for status, _, _ in asked(node, tmp_path, *PRIVATE, access=access, headers=BEARER)] == expected


def test_and_then_it_has_no_more_places_than_anybody_else(node, tmp_path):
    limits = Limits(requests_each=0)
    for access, expected in ((Access(), 200), (ACCESS, 429)):

        async def main(access=access):
            async with serving(node, tmp_path, access=access, limits=limits) as server:
                return await server.ask("/metrics", headers=BEARER)

        assert asyncio.run(main())[0] == expected


def test_the_commands_ask_on_the_control_socket_without_a_token(node, tmp_path):
    async def main():
        async with serving(node, tmp_path, access=Access((NETWORK,), ACCESS.tokens)) as server:
            return await control.status(server.control)

    assert asyncio.run(main()).account == "runner02"


def test_from_elsewhere_the_public_routes_need_no_token(node, tmp_path):
    found = asked(node, tmp_path, *PUBLIC, headers=ELSEWHERE)
    assert {status for status, _, _ in found} <= {200, 404}


@pytest.mark.parametrize("path", PRIVATE)
def test_from_elsewhere_the_private_ones_need_a_token(node, tmp_path, path):
    [(status, body, response)] = asked(node, tmp_path, path, headers=ELSEWHERE)
    assert (status, body["error"], body["kind"]) == (401, "no_token", "missing")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="waggle"'
    assert asked(node, tmp_path, path, headers={**ELSEWHERE, **BEARER})[0][0] == 200


WRONG = (
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    "Bearer ",
    "Bearer",
    f"Basic {TOKEN}",
    TOKEN,
    f"Bearer {TOKEN} {TOKEN}",
    "Bearer \xff\xfe",
    "Bearer " + "a" * 7_000,
)


@pytest.mark.parametrize("given", WRONG)
def test_wrong_tokens(node, tmp_path, given):
    [(status, body, response)] = asked(node, tmp_path, "/metrics", headers={**ELSEWHERE, "Authorization": given})
    assert (status, body["error"], body["kind"]) == (401, "wrong_token", "wrong")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert given[:200] not in str(node.events)


def test_without_tokens_in_the_configuration_nobody_gets_in(node, tmp_path):
    for headers in (ELSEWHERE, {**ELSEWHERE, **BEARER}):
        [(status, body, _)] = asked(node, tmp_path, "/v1/status", access=Access(), headers=headers)
        assert status == 401 and body["remedy"] == "have the operator set http.tokens_file"


def test_an_address_that_is_not_allowed_gets_403_whatever_its_token(node, tmp_path):
    access = Access((NETWORK,), ACCESS.tokens)
    for path in (*PRIVATE, *PUBLIC):
        [(status, body, response)] = asked(node, tmp_path, path, access=access, headers={**ELSEWHERE, **BEARER})
        assert (status, body["error"]) == (403, "not_allowed") and "WWW-Authenticate" not in response.headers
    here = asked(node, tmp_path, *PRIVATE, access=access, headers=BEARER)
    assert [status for status, _, _ in here] == [200, 200], "this machine always is"
    through = Access((ipaddress.ip_network("127.0.0.0/8"),), ACCESS.tokens)
    assert asked(node, tmp_path, "/metrics", access=through, headers={**ELSEWHERE, **BEARER})[0][0] == 200


def test_failures_are_counted_each_and_told_once_a_minute(node, tmp_path):
    asked(node, tmp_path, *["/metrics"] * 5, headers=ELSEWHERE)
    told = [fields for event, fields in node.events if event == "auth_failed"]
    assert told == [{"peer": "127.0.0.1 proxy", "path": "/metrics", "kind": "missing", "times": 1}]
    assert 'waggle_auth_failures_total{kind="missing"} 5.0' in node.metrics().decode()


def test_a_name_that_somebody_pointed_at_this_machine_is_no_reason_to_trust(node, tmp_path):
    """A page in the operator's browser may reach loopback under a name of its own."""
    assert asked(node, tmp_path, "/v1/status", access=Access(), headers={"Host": "evil.example"})[0][0] == 401
    for host in ("localhost:8095", "127.0.0.1", "[::1]:8095"):
        assert asked(node, tmp_path, "/v1/status", access=Access(), headers={"Host": host})[0][0] == 200


def test_the_control_socket_is_open_and_for_its_owner_alone(node, tmp_path):
    async def main():
        async with serving(node, tmp_path, access=ACCESS) as server:
            assert os.stat(server.control).st_mode & 0o777 == 0o600
            connector = aiohttp.UnixConnector(str(server.control))
            async with aiohttp.ClientSession(connector=connector) as session:
                for path in (*PRIVATE, "/health"):
                    async with session.get(f"http://node{path}") as response:
                        assert response.status == 200
        assert not server.control.exists()

    asyncio.run(main())


# -- where a request comes from


def from_peer(peer: str, **headers: str) -> Origin:
    class Transport:
        def get_extra_info(self, name, default=None):
            return {"peername": (peer, 4_711)}.get(name, default)

    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return origin_of(make_mocked_request("GET", "/", headers=given, transport=Transport()))


def test_loopback_in_each_of_its_forms_is_this_machine():
    for peer in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert from_peer(peer).local
    for peer in ("192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1", "nonsense", ""):
        assert not from_peer(peer).local


def test_what_a_proxy_forwarded_is_not_this_machine():
    for header in ("X_Forwarded_For", "Forwarded", "X_Real_IP", "Via"):
        origin = from_peer("127.0.0.1", **{header: "127.0.0.1"})
        assert not origin.local and origin.key == "127.0.0.1 proxy"


def test_a_network_of_ipv6_is_one_client():
    assert from_peer("2001:db8:1:2::1").key == from_peer("2001:db8:1:2:ffff::9").key == "2001:db8:1:2::/64"
    assert from_peer("2001:db8:1:3::1").key != from_peer("2001:db8:1:2::1").key
    assert from_peer("192.0.2.1").key == from_peer("::ffff:192.0.2.1").key == "192.0.2.1"
    assert from_peer("192.0.2.2").key != from_peer("192.0.2.1").key


# -- the configuration


def tokens_in(folder, text: str, mode: int = 0o600):
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_tokens_are_read_from_a_private_file(tmp_path):
    path = tokens_in(tmp_path, f"# Prometheus\n{TOKEN}\n\n  another-token-of-ours  \n")
    found = settings_of(HttpConfig(tokens_file=path, allow=("10.0.0.0/8", "2001:db8::/32"))).access
    assert found.tokens == (sha256(TOKEN.encode()).digest(), sha256(b"another-token-of-ours").digest())
    assert found.allow == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path, mode):
    with pytest.raises(ConfigError, match="chmod 600"):
        load_tokens(tokens_in(tmp_path, TOKEN, mode))


NO_TOKENS = ("", "# none\n", "short\n", "a" * 300, "with a space in it somewhere", "tökentökentöken-token")


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token_is_refused_and_not_quoted(tmp_path, text):
    with pytest.raises(ConfigError) as refused:
        load_tokens(tokens_in(tmp_path, text))
    assert not text.strip() or text.strip() not in str(refused.value)
    assert "http.tokens_file" in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="tokens"):
        load_tokens(tmp_path / "tokens")
