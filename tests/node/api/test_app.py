"""What every answer has in common, and where the node listens."""

import asyncio
import gzip
import json
import socket
import ssl

import pytest

from node.api.answers import AnswerError
from node.api.app import make_app
from node.api.serving import serve
from node.config import HttpConfig
from node.errors import ConfigError, NodeError
from tests.node.api.serving import ServedNode, raw, serving
from tests.node.test_core import new_group, run_to_founded

PATHS = ("/health", "/ready", "/metrics", "/v1/status", "/v1/snapshots", "/v1/roots/20", "/v1/trace/21", "/v1/tree/20")


@pytest.fixture
def node(tmp_path) -> ServedNode:
    group = new_group(tmp_path)
    run_to_founded(group)
    return ServedNode(group, tmp_path)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_but_reading(node, tmp_path, method):
    async def main():
        async with serving(node, tmp_path) as server:
            return [await server.ask(path, method=method) for path in PATHS]

    for status, body, response in asyncio.run(main()):
        assert status in (400, 405) and body.get("error", "bad_request") in ("method_not_allowed", "bad_request")
        assert status == 400 or response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_headers_of_get_and_no_body(node, tmp_path, path):
    async def main():
        async with serving(node, tmp_path) as server:
            request = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            return (await server.ask(path))[0], await raw(server.runner.port, request)

    status, answer = asyncio.run(main())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}".encode()) and b"Content-Length" in head and body == b""


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/", "/v1/roots/x"])
def test_every_answer_has_the_security_headers(node, tmp_path, path):
    async def main():
        async with serving(node, tmp_path) as server:
            return (await server.ask(path))[2].headers

    headers = asyncio.run(main())
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Server"] == "waggle"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


def test_large_json_is_compressed_for_who_takes_it(node, tmp_path):
    async def main():
        async with serving(node, tmp_path) as server:
            found = {}
            for coding in ("gzip", "gzip;q=0", "identity", "br, GZIP;q=0.5"):
                request = f"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\n"
                answer = await raw(server.runner.port, f"{request}Connection: close\r\n\r\n".encode())
                head, _, body = answer.partition(b"\r\n\r\n")
                found[coding] = (b"Content-Encoding: gzip" in head, body)
            return found

    found = asyncio.run(main())
    assert {coding: packed for coding, (packed, _) in found.items()} == {
        "gzip": True,
        "gzip;q=0": False,
        "identity": False,
        "br, GZIP;q=0.5": True,
    }
    assert json.loads(gzip.decompress(found["gzip"][1]))["account"] == "runner02"


def test_a_handler_that_fails_says_nothing_of_why_and_the_log_does(node, tmp_path):
    def broken():
        raise ZeroDivisionError("secret place")

    node.status = broken

    async def main():
        async with serving(node, tmp_path) as server:
            return await server.ask("/v1/status")

    status, body, _ = asyncio.run(main())
    assert (status, body["error"]) == (500, "internal") and "secret" not in str(body)
    [told] = [fields for event, fields in node.events if event == "http_error"]
    assert told["route"] == "/v1/status" and "secret place" in told["error"] and told["at"].startswith("test_app.py:")


def test_every_request_is_an_event_with_the_pattern_of_its_route(node, tmp_path):
    async def main():
        async with serving(node, tmp_path) as server:
            await server.ask("/v1/roots/20")
            await server.ask("/v1/tree/40/node/0")
            await server.ask("/x" * 500)

    asyncio.run(main())
    found = [(fields["route"], fields["status"]) for event, fields in node.events if event == "http"]
    assert found == [("/v1/roots/{height}", 200), ("/v1/tree/{height}/{table}/{path}", 404), ("other", 404)]


def test_an_error_says_what_to_do():
    error = AnswerError(404, "code", "what is wrong", "what to do", more={"height": 7})
    assert error.body == {"error": "code", "message": "what is wrong", "remedy": "what to do", "height": 7}


# -- listening


def test_without_an_address_there_is_the_control_socket_alone(node, tmp_path):
    async def main():
        runner = await serve(make_app(node), HttpConfig(), tmp_path / "data" / "control.sock")
        assert runner.port == 0 and (tmp_path / "data" / "control.sock").is_socket()
        await runner.stop()
        assert not (tmp_path / "data" / "control.sock").exists()

    asyncio.run(main())


def test_a_socket_that_a_dead_node_left_is_replaced_and_a_living_one_is_not(node, tmp_path):
    control = tmp_path / "control.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(control))
    dead.close()

    async def main():
        runner = await serve(make_app(node), HttpConfig(), control)
        with pytest.raises(NodeError, match="another node runs on this data folder"):
            await serve(make_app(node), HttpConfig(), control)
        assert control.is_socket(), "the other one's socket is still there"
        await runner.stop()

    asyncio.run(main())


def test_what_is_no_socket_is_left_alone(node, tmp_path):
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(ConfigError, match="is no socket"):
        asyncio.run(serve(make_app(node), HttpConfig(), tmp_path / "control.sock"))
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_a_path_that_is_too_long_for_a_socket(node, tmp_path):
    with pytest.raises(ConfigError, match="name a shorter folder"):
        asyncio.run(serve(make_app(node), HttpConfig(), tmp_path / ("x" * 120) / "control.sock"))


def test_an_address_that_is_taken_is_a_clear_error_and_leaves_nothing_behind(node, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"http\.listen: 127\.0\.0\.1:\d+ cannot be used"):
            asyncio.run(serve(make_app(node), HttpConfig(listen=listen), tmp_path / "control.sock"))
    assert not (tmp_path / "control.sock").exists()


def certificate(folder):
    """A certificate of our own for loopback, and its key."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    begin = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin.replace(year=2100))
    (folder / "tls.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(key.private_bytes(*form))
    return folder / "tls.crt", folder / "tls.key"


def test_tls_where_a_certificate_is_configured(node, tmp_path):
    crt, key = certificate(tmp_path)

    async def main():
        async with serving(node, tmp_path, certificate=crt, key=key) as server:
            assert (await server.ask("/health"))[0] == 200
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", server.runner.port, ssl=old)
            assert not (await raw(server.runner.port, b"GET /health HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")

    with pytest.warns(DeprecationWarning):
        asyncio.run(main())


def test_a_certificate_that_cannot_be_read_is_a_clear_error(node, tmp_path):
    crt, key = certificate(tmp_path)
    crt.write_text("nothing")
    with pytest.raises(ConfigError, match=r"http\.certificate"):
        asyncio.run(serve(make_app(node), HttpConfig("127.0.0.1:0", None, (), crt, key), tmp_path / "control.sock"))


def test_it_stops_at_once_although_clients_are_connected(node, tmp_path):
    async def main():
        async with asyncio.timeout(3):
            async with serving(node, tmp_path) as server:
                _, writer = await asyncio.open_connection("127.0.0.1", server.runner.port)
                writer.write(b"GET /health HTTP/1.1\r\nHost: local")
                await server.ask("/health")
        writer.close()

    asyncio.run(main())


def test_an_address_of_ipv6(node, tmp_path):
    async def main():
        try:
            runner = await serve(make_app(node), HttpConfig(listen="[::1]:0"), tmp_path / "control.sock")
        except ConfigError:
            pytest.skip("this machine has no IPv6")
        reader, writer = await asyncio.open_connection("::1", runner.port)
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200"), "loopback: no token"
        writer.close()
        await runner.stop()

    asyncio.run(main())
