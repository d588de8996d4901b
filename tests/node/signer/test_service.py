"""`waggle signer` as a process and as a wire: who may ask, what is dropped, and that it ends when it is told to."""

import asyncio
import datetime
import ipaddress
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.devnet.founding import found, genesis_document, member_keys, new_chain
from node.devnet.group import VirtualGroup
from node.devnet.watching import PARAMETERS, PAYOUT
from node.errors import ConfigError, SignerError
from node.genesis_text import to_toml
from node.signer import peers, service, wire
from node.signer.keys import write_key
from node.signer.remote import RemoteSigner, connect_tls
from node.signer.service import host_and_port, tls_context
from node.signer.service_config import is_service, load_service_config
from state.schema import DONE, SIG
from tests.node.signer.remotely import join_remotely, new_replica, serving
from tests.node.test_core import any_state, new_group, run_to_founded

ME = member_keys(2)


@pytest.fixture
def served(tmp_path):
    group = new_group(tmp_path / "group")
    said = []
    replica = new_replica(group.genesis, ME, tmp_path / "signer")
    with serving(replica, tmp_path / "sock", log=lambda *told: said.append(told)) as found:
        yield group, replica, tmp_path / "sock", said, found


def dial(path):
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(5)
    found.connect(str(path))
    return found


def hello(group):
    return wire.frame(wire.Hello(wire.VERSION, group.genesis.hash, ME.account))


def answer_of(wired):
    """The next answer; None once it hung up."""
    head = b""
    while len(head) < wire.HEAD:
        part = wired.recv(wire.HEAD - len(head))
        if not part:
            return None
        head += part
    _, size = wire.body_size(head)
    body = b""
    while len(body) < size:
        body += wired.recv(size - len(body))
    return wire.read_answer(body)


# -- who may ask


def test_the_socket_is_its_owners_alone(served):
    _, _, path, _, _ = served
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("uid", "welcome"), [(0, True), (os.geteuid(), True), (12_345, False)])
def test_only_the_same_user_and_root(served, monkeypatch, uid, welcome):
    group, _, path, said, _ = served
    monkeypatch.setattr(peers, "struct", SimpleNamespace(unpack=lambda form, raw: (1, uid, 1)))
    with dial(path) as wired:
        try:
            wired.sendall(hello(group))
            found = answer_of(wired)
        except ConnectionError:
            found = None
    assert isinstance(found, wire.Welcome) == welcome
    assert welcome or any("belongs to the user 12345" in fields["why"] for _, fields in said)


def test_no_more_than_some_clients_at_once(served):
    group, _, path, _, _ = served
    wired = [dial(path) for _ in range(service.MAX_CLIENTS)]
    for one in wired:
        one.sendall(hello(group))
        assert isinstance(answer_of(one), wire.Welcome)
    with dial(path) as late:
        assert answer_of(late) is None
    for one in wired:
        one.close()


def test_what_a_dead_signer_left_is_replaced_and_a_living_one_is_not(served, tmp_path):
    group, _, path, _, _ = served
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    with serving(new_replica(group.genesis, ME, tmp_path / "another"), left):
        dial(left).close()
    with pytest.raises(ConfigError, match="another signer listens there"):
        asyncio.run(service.listen(None, f"unix:{path}", None))


# -- what is dropped


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff\x00",
        (70 << 10).to_bytes(4, "big") + b"\x01",
        (65 << 20).to_bytes(4, "big") + b"\x00",
        b"\x00\x00\x00\x05\x07" + bytes(4),
        b"\x00\x00\x00\x00\x01",
        b"\x00\x00\x00\x05\x01" + b"\xc1" * 4,
        wire.frame(wire.Look()),
        wire.frame(wire.Apply([b"{}"])),
        wire.frame(wire.Sign("1:2:3", bytes(33), bytes(20))),
        b"GET / HTTP/1.1\r\n\r\n" * 100,
    ],
)
def test_a_client_that_breaks_the_rules_is_dropped_and_the_others_are_not(served, sent):
    group, _, path, said, _ = served
    with dial(path) as good, dial(path) as bad:
        good.sendall(hello(group))
        assert isinstance(answer_of(good), wire.Welcome)
        bad.sendall(sent)
        assert isinstance(answer_of(bad), wire.Refused)
        assert answer_of(bad) is None
        good.sendall(wire.frame(wire.BlockId(7)))
        assert answer_of(good) == wire.At(7, b"")
    assert any(fields["outcome"] == "dropped" for _, fields in said)


@pytest.mark.parametrize("message", [wire.Apply([b"x"] * (wire.MAX_BATCH + 1)), wire.Apply([])])
def test_batches_are_bounded(served, message):
    group, _, path, _, _ = served
    with dial(path) as wired:
        wired.sendall(hello(group) + wire.frame(message))
        assert isinstance(answer_of(wired), wire.Welcome)
        assert "blocks at once" in answer_of(wired).why
        assert answer_of(wired) is None


def test_a_message_of_one_kind_does_not_come_as_the_other():
    body = wire.frame(wire.Look())[wire.HEAD :]
    with pytest.raises(SignerError, match="frame of another kind"):
        wire.read_request(wire.BLOCKS, body)
    with pytest.raises(SignerError, match="at most 65536"):
        wire.frame(wire.Refused("x" * (70 << 10)))


def test_what_breaks_inside_ends_that_client_alone(served, monkeypatch):
    group, replica, path, said, _ = served
    monkeypatch.setattr(replica, "block_id", lambda height: 1 // 0)
    with dial(path) as wired:
        wired.sendall(hello(group) + wire.frame(wire.BlockId(1)))
        assert isinstance(answer_of(wired), wire.Welcome)
        assert answer_of(wired) is None
    dial(path).close()
    assert any("ZeroDivisionError" in fields["why"] for _, fields in said)


def test_a_flood_is_answered_slowly(served, monkeypatch):
    group, _, path, _, _ = served
    monkeypatch.setattr(service, "BURST", 5)
    monkeypatch.setattr(service, "RATE", 1000)
    waits = []
    sleep = service.asyncio.sleep
    monkeypatch.setattr(service.asyncio, "sleep", lambda seconds: waits.append(seconds) or sleep(seconds))
    with dial(path) as wired:
        wired.sendall(hello(group) + wire.frame(wire.BlockId(1)) * 50)
        for _ in range(51):
            assert answer_of(wired) is not None
    assert waits and all(0 < wait < 1 for wait in waits)


# -- TLS


def certificate(folder, name, issuer=None, *, is_authority=False):
    """(certificate, key) files; ``issuer`` = what this returned for the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed_by = x509.load_pem_x509_certificate(issuer[0].read_bytes()).subject if issuer else subject
    with_key = serialization.load_pem_private_key(issuer[1].read_bytes(), None) if issuer else key
    now = datetime.datetime(2026, 1, 1)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=3650))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(with_key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


def test_over_tcp_both_show_a_certificate_of_the_one_authority(tmp_path):
    group = new_group(tmp_path / "group")
    ours, theirs = (certificate(tmp_path, name, is_authority=True) for name in ("ours", "theirs"))
    signer, node = certificate(tmp_path, "signer", ours), certificate(tmp_path, "node", ours)
    stranger = certificate(tmp_path, "stranger", theirs)
    server = lambda: tls_context(*signer, ours[0], server=True)  # noqa: E731
    replica = new_replica(group.genesis, ME, tmp_path / "data")

    def dial_with(context, port):
        remote = RemoteSigner(connect_tls("127.0.0.1", port, context), group.genesis, ME.account)
        remote.close()
        return remote.public_keys

    with serving(replica, None, address="tls://127.0.0.1:0", context=server) as found:
        port = found["port"]
        assert dial_with(tls_context(*node, ours[0], server=False), port) == (ME.signing_key.public,)
        with pytest.raises(SignerError):  # a certificate of another authority
            dial_with(tls_context(*stranger, ours[0], server=False), port)
        with pytest.raises(SignerError):  # who does not know the signer's authority
            dial_with(tls_context(*node, theirs[0], server=False), port)
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.load_verify_locations(ours[0])
        with pytest.raises(SignerError):  # no certificate at all
            dial_with(bare, port)
        old = tls_context(*node, ours[0], server=False)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
        with pytest.raises(SignerError):
            dial_with(old, port)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.sendall(hello(group))
            assert not plain.recv(100).startswith(b"\0")


def test_files_that_are_no_certificate_say_so(tmp_path):
    (tmp_path / "a").write_text("nothing")
    with pytest.raises(ConfigError, match="cannot be used"):
        tls_context(tmp_path / "a", tmp_path / "a", tmp_path / "a", server=True)


@pytest.mark.parametrize(
    ("address", "found"),
    [("tls://h:5", ("h", 5)), ("tls://[::1]:70/", ("::1", 70)), ("tls://1.2.3.4:1", ("1.2.3.4", 1))],
)
def test_where_it_is(address, found):
    assert host_and_port(address) == found


# -- its configuration

GOOD = """
[signer]
account = "runner02"
genesis = "genesis.toml"
data = "data"
listen = "unix:run/signer.sock"
[keys]
signing = "signing.key"
password = "file:password"
"""


def test_a_configuration_and_its_defaults(tmp_path):
    path = tmp_path / "signer.toml"
    path.write_text(GOOD)
    config = load_service_config(path)
    assert config.listen == f"unix:{tmp_path}/run/signer.sock"
    assert config.signing_keys == (tmp_path / "signing.key",)
    assert config.password == f"file:{tmp_path}/password"
    assert (config.trust, config.certificate, config.log_format) == (None, None, "console")
    assert config.policy.allow == ("rotation", "standing", "proposal")
    assert is_service(path)
    assert (config.users, config.group) == ((), "")
    path.write_text(GOOD.replace("[keys]", 'users = ["waggle", "10001"]\ngroup = "waggle"\n[keys]'))
    assert (load_service_config(path).users, load_service_config(path).group) == (("waggle", "10001"), "waggle")
    path.write_text(GOOD.replace("[keys]", f'trust = "60:{"ab" * 32}"\n[keys]'))
    assert (load_service_config(path).trust.height, load_service_config(path).trust.root) == (60, b"\xab" * 32)


def test_everything_that_is_wrong_at_once(tmp_path):
    path = tmp_path / "signer.toml"
    path.write_text(
        '[signer]\naccount = "X"\nlisten = "tcp:1"\ntrust = "7"\nurl = "unix:a"\n[policy]\nmanual = 1\n[api]\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_service_config(path)
    text = str(caught.value)
    for part in (
        "signer.account",
        "signer.listen",
        "signer.trust",
        "signer.url: no such key",
        "signer.genesis: missing",
    ):
        assert part in text
    for part in ("keys.signing: missing", "policy.manual", "api: no such section"):
        assert part in text
    path.write_text(GOOD.replace("unix:run/signer.sock", "tls://[::]:4000"))
    with pytest.raises(ConfigError, match=r"(?s)signer.certificate.*signer.key.*signer.authority"):
        load_service_config(path)


@pytest.mark.parametrize("line", ['users = ["waggle"]', 'group = "waggle"'])
def test_another_user_needs_the_group_and_its_name(tmp_path, line):
    path = tmp_path / "signer.toml"
    path.write_text(GOOD.replace("[keys]", f"{line}\n[keys]"))
    with pytest.raises(ConfigError, match="another user needs both"):
        load_service_config(path)
    path.write_text(GOOD.replace("unix:run/signer.sock", "tls://[::]:4000").replace("[keys]", f"{line}\n[keys]"))
    with pytest.raises(ConfigError, match="is for unix: alone"):
        load_service_config(path)
    path.write_text(GOOD.replace("[keys]", 'users = [7]\ngroup = "waggle"\n[keys]'))
    with pytest.raises(ConfigError, match="is no name of a user: 7"):
        load_service_config(path)


# -- the process


@pytest.mark.processes
def test_a_node_and_the_process_that_holds_its_key(tmp_path):
    members = [member_keys(number) for number in range(1, 4)]
    text = genesis_document(members, start_block=20, parameters=PARAMETERS, payouts=[PAYOUT])
    genesis = found(text)
    home = tmp_path / "home"
    home.mkdir()
    (home / "genesis.toml").write_text(to_toml(text))
    write_key(home / "signing.key", ME.signing_key)
    (home / "signer.toml").write_text(GOOD.replace("[keys]", "[log]\nformat = 'json'\n[keys]"))
    command = [sys.executable, "-c", "from node.cli.signer import signer; signer()", "--config", home / "signer.toml"]
    path = home / "run/signer.sock"

    def start():
        with open(home / "signer.log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            try:
                dial(path).close()
                break
            except OSError:
                time.sleep(0.05)
        return process

    process = start()
    try:
        group = VirtualGroup(new_chain(members, members[0]), genesis, tmp_path)
        for member in members:
            if member is not ME:
                group.join(member)
        join_remotely(group, ME, path)
        run_to_founded(group)
        process.kill()
        process.wait(10)
        process = start()
        streaming = join_remotely(group, ME, path)
        group.silent.add("runner03")
        group.run(90)
        assert any(key == ME.signing_key.public for (_, key), _ in any_state(group).walk(SIG)) or _signed(group)
        assert streaming.vouched > 0
        second = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert second.returncode != 0 and "is held by another process" in second.stderr
        process.send_signal(signal.SIGHUP)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 2
    finally:
        process.kill()
    told = (home / "signer.log").read_text()
    assert '"event": "stop"' in told and "Traceback" not in told
    assert (home / "signing.key").read_text().strip() not in told


def _signed(group):
    return any(ME.signing_key.public in done.signers for _, done in any_state(group).walk(DONE))
