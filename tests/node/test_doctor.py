"""The checks of `waggle doctor`: against a devnet on loopback, servers that nobody should have, and this disk."""

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from node.config import HttpConfig, SignerConfig, load_config
from node.core import ChainView
from node.devnet.founding import CHAIN, devnet_key, guest_keys, member_keys
from node.devnet.manners import manner
from node.doctor import around, chain, home, machine, servers
from node.doctor.finding import Case, Finding, Seen, exit_code, split
from node.doctor.walk import examine
from node.errors import NodeError
from node.feed.http import Http
from node.feed.rpc import Api
from node.membership import Known
from node.signer import sealing
from node.signer.journal import RESTORED, Journal
from node.signer.keyfile import info_of, write_sealed
from node.signer.keys import write_key
from node.status import SeatStatus
from processors.genesis import genesis_hash, parse
from state.schema import Authority
from tests.node.hive_at_home import CREATED, PASSWORD, hive
from tests.node.hive_at_home import home as make_home


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """scrypt as cheap as can be."""
    monkeypatch.setattr(sealing, "_WORK", 16)


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A home whose servers nobody asks."""
    with hive(monkeypatch, clock=False) as found:
        return make_home(tmp_path / "home", found, urls=["http://127.0.0.1:1", "http://127.0.0.1:2"])


def case_of(path, **more):
    config = load_config(path)
    found = Case(config, genesis=home.load_genesis(config.genesis))
    for name, value in more.items():
        setattr(found, name, value)
    return found


def walked(path, **how):
    found = asyncio.run(examine(load_config(path), guard=list, **{"password": lambda: PASSWORD, **how}))
    assert PASSWORD not in str(found)
    return found


def named(findings, name):
    return [finding for finding in findings if finding.name == name]


def one(findings, name):
    [finding] = named(findings, name)
    return finding


# -- all of it


def test_a_home_on_a_good_devnet(tmp_path, monkeypatch):
    told = []
    with hive(monkeypatch) as found:
        path = make_home(tmp_path / "home", found)
        findings = walked(path, expected=genesis_hash(found.document).hex(), tell=told.append)
        urls = found.urls
    assert exit_code(findings) == 1, [f for f in findings if f.level == "fail"]
    for name in ("files", "disk", "genesis", "password", "store", "journal", "snapshots", "account", "credits"):
        assert one(findings, name).level == "ok", name
    for url in urls:
        assert one(findings, f"api {url}").level == "ok"
    assert one(findings, "api-operators").level == one(findings, "api-agreement").level == "ok"
    assert one(findings, "group").level == one(findings, "group-credits").level == "ok"
    assert one(findings, "registration").level == "warn" and "waggle join" in one(findings, "registration").remedy
    sealed = one(findings, "sealed")
    assert sealed.level == "warn" and "runner01 is its recovery account" in sealed.what
    for name in ("node", "version", "clock", "http", "peers", "signer"):
        assert one(findings, name).level == "skip", name
    assert "the keys" in told and "2 API servers" in told
    assert not list((tmp_path / "home/data").iterdir()), "nothing is left behind"


def test_every_finding_that_is_not_fine_says_what_to_do(tmp_path, monkeypatch):
    with hive(monkeypatch, manner("leaves-out"), manner("behind:30")) as found:
        findings = walked(make_home(tmp_path / "home", found, account_key=devnet_key("other")))
    assert exit_code(findings) == 2
    assert all(finding.remedy for finding in findings if finding.level in ("warn", "fail"))
    assert one(findings, "account").level == "fail"


def test_without_the_password_the_keys_stay_closed(tmp_path, monkeypatch):
    with hive(monkeypatch) as found:
        findings = walked(make_home(tmp_path / "home", found), password=None)
    assert one(findings, "password").level == one(findings, "account").level == "skip"


def test_with_no_server_at_all_it_still_ends(at_home):
    findings = walked(at_home)
    assert exit_code(findings) == 2
    assert one(findings, "api-operators").level == one(findings, "account").level == "fail"
    assert one(findings, "credits").level == one(findings, "clock").level == "skip"


def test_a_check_that_breaks_hides_nothing(at_home, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("x" * 10_000)

    monkeypatch.setattr(machine, "disk", broken)
    monkeypatch.setattr(chain, "account", broken_later)
    findings = walked(at_home)
    assert any("the check itself failed: ZeroDivisionError" in f.what and len(f.what) <= 500 for f in findings)
    assert "ZeroDivisionError" in one(findings, "account").what
    assert named(findings, "api-operators") and named(findings, "files")


async def broken_later(*args):
    raise ZeroDivisionError


# -- a remote signer


def remote_case(path, status):
    """A member's case whose configuration names a signer elsewhere: this node has no signing key."""
    key = member_keys(1).signing_key.public
    active = Authority(1, ((key, 1),), ())
    known = Known("node", 30, SimpleNamespace(signing_key=key, next_key=None, leaving=False), 0, 0, True, "", active)
    found = case_of(path, status=status, known=known, keys=SimpleNamespace(account=[], signing=[]))
    found.config = replace(found.config, signing_keys=(), signer=SignerConfig(url="unix:/sock"))
    return found


def test_with_a_remote_signer_the_running_node_says_whether_the_key_is_held(at_home):
    held = SimpleNamespace(seat=SeatStatus(key_held=True, runner=True, signer=True))
    registration, seat = chain.registration(remote_case(at_home, held))
    assert registration.level == "ok" and "with the remote signer" in registration.what
    assert seat.what == "with a seat, a key of it is in the group's authority"
    [registration] = chain.registration(remote_case(at_home, SimpleNamespace(seat=SeatStatus(key_held=False))))
    assert registration.level == "fail" and "not among the remote signer's keys" in registration.what


def test_with_a_remote_signer_and_no_running_node_nobody_can_tell(at_home):
    [registration] = chain.registration(remote_case(at_home, None))
    assert registration.level == "skip" and "the running node says" in registration.what


@pytest.mark.parametrize(("levels", "code"), [([], 0), (["ok", "skip"], 0), (["ok", "warn"], 1), (["warn", "fail"], 2)])
def test_the_exit_code(levels, code):
    assert exit_code(Finding("x", level, "y") for level in levels) == code


def test_an_error_ends_with_its_remedy():
    assert split(NodeError("a: b is bad. Run: chmod 600 b")) == ("a: b is bad", "chmod 600 b")
    assert split(NodeError("no colon")) == ("no colon", "see the message")


# -- servers that are not as they should be


def test_a_server_that_leaves_transactions_out_is_caught(tmp_path, monkeypatch):
    with hive(monkeypatch, manner("honest"), manner("leaves-out"), clock=False) as found:
        for number in range(3):
            tx = signed_custom_json(found.chain, number)
            found.chain.submit(tx)
            found.first.produce()
        for _ in range(3):
            found.first.produce()
        seen = looked(found.urls, found.document)
    assert seen[0].error == "" and "gives a block that is false" in seen[1].error


def signed_custom_json(chain, number):
    from processors.hive.block import reference_prefix
    from processors.hive.operations import active_custom_json
    from processors.hive.transaction import Transaction

    operation = active_custom_json("runner01", "x", json.dumps({"n": number}))
    tx = Transaction(chain.head_number & 0xFFFF, reference_prefix(chain.head_id), chain.head_time + 300, (operation,))
    return devnet_key("runner01 active").sign_transaction(tx, CHAIN)


def looked(urls, document):
    async def main():
        async with aiohttp.ClientSession() as session:
            apis = [
                Api(url, f"operator {index}", servers.Bounded(Http(session)), "me", 0.5)
                for index, url in enumerate(urls)
            ]
            return await servers.look(apis, parse(document))

    return asyncio.run(main())


def test_a_server_that_is_behind_is_seen_however_quick_the_chain_is(tmp_path, monkeypatch):
    with hive(monkeypatch, manner("honest"), manner("behind:30")) as found:
        good, late = looked(found.urls, found.document)
    assert good.behind <= 2 and 28 <= late.behind <= 32
    findings = servers.judge(Case(None, servers=(good, late)), {})
    assert [f.level for f in findings if f.name.startswith("api http")] == ["ok", "warn"]


@pytest.mark.parametrize("kind", ["silent", "errors:1"])
def test_a_server_that_does_not_answer(tmp_path, monkeypatch, kind):
    with hive(monkeypatch, manner("honest"), manner(kind), clock=False) as found:
        good, bad = looked(found.urls, found.document)
    assert good.error == "" and bad.error and bad.view is None


@asynccontextmanager
async def answering(answer):
    """An address whose every result is ``answer(method)``: a JSON value, bytes as they are, or a response."""

    async def handle(request):
        found = answer((await request.json())["method"])
        if isinstance(found, web.StreamResponse):
            return found
        if isinstance(found, bytes):
            return web.Response(body=found)
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": found})

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


DGPO = {"head_block_number": 50, "last_irreversible_block_num": 49, "time": "2026-01-01T00:02:30"}
VERSION = {"blockchain_version": "1.28.0", "chain_id": CHAIN.chain_id.hex()}


def hostile(**answers):
    """What a server is that answers so; anything else is null."""
    every = {"get_dynamic_global_properties": DGPO, "get_version": VERSION, **answers}

    async def main(document):
        async with (
            answering(lambda method: every.get(method.partition(".")[2])) as url,
            aiohttp.ClientSession() as session,
        ):
            [seen] = await servers.look([Api(url, "x", servers.Bounded(Http(session)), "me", 2.0)], parse(document))
            return seen

    return main


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"get_dynamic_global_properties": []}, "not dynamic global properties"),
        ({"get_dynamic_global_properties": {**DGPO, "head_block_number": {}}}, "not dynamic global properties"),
        ({"get_dynamic_global_properties": {**DGPO, "head_block_number": "9" * 5000}}, "not dynamic global properties"),
        ({"get_dynamic_global_properties": b"[" * 100_000}, "not a JSON-RPC answer"),
        ({"get_dynamic_global_properties": b" " * (servers.MAX_ANSWER + 1)}, "an answer of more than"),
        ({"get_version": {**VERSION, "chain_id": "be" * 32}}, "it is on another chain: bebe"),
        ({"get_version": {**VERSION, "chain_id": 5}}, "no chain id and version"),
        ({"get_version": [VERSION]}, "no chain id and version"),
        ({"get_version": {**VERSION, "blockchain_version": "one"}}, "is no version"),
        ({"get_version": {**VERSION, "blockchain_version": "1.27.5"}}, "it runs hardfork 27"),
        ({"get_block_range": {"blocks": [5] * 25}}, "false"),
        ({"get_block_range": {"blocks": []}}, "0 blocks instead of"),
        ({"get_block_range": {"blocks": "x"}}, "not a range of blocks"),
    ],
)
def test_whatever_a_server_answers(tmp_path, monkeypatch, answers, said):
    with hive(monkeypatch, clock=False) as found:
        document = found.document
    seen = asyncio.run(hostile(**answers)(document))
    assert said in seen.error and len(seen.error) < 400


def test_a_header_of_any_type_is_bounded():
    seen = [Seen("a", "x", header=("p",) * 4), Seen("b", "y", header=("q",) * 4), Seen("c", "z")]
    found = servers._agreement(seen)
    assert found.level == "fail" and "a against b" in found.what
    assert servers._agreement(seen[:1]).level == "skip"


# -- clock


def on(offset, chain_id=servers.MAIN_CHAIN):
    view = ChainView(10, 0, 9)
    genesis = SimpleNamespace(chain=SimpleNamespace(chain_id=chain_id))
    seen = tuple(Seen(str(n), "x", offset=offset + n, view=view) for n in (-1, 0, 1))
    [found] = servers.clock(Case(None, genesis=genesis, servers=seen))
    return found


@pytest.mark.parametrize(
    ("offset", "level"), [(0, "ok"), (3, "ok"), (9, "ok"), (-5, "warn"), (30, "warn"), (61, "fail"), (-3600, "fail")]
)
def test_the_clock_against_the_heads(offset, level):
    assert on(offset).level == level


def test_a_chain_with_its_own_time_says_nothing_of_the_clock():
    assert on(10**9, CHAIN.chain_id).level == "skip"


# -- this machine


def test_files_that_others_can_change(at_home):
    at_home.chmod(0o666)
    (at_home.parent / "data").chmod(0o755)
    found = machine.files(case_of(at_home))
    assert [(f.level, f.remedy) for f in found] == [
        ("fail", f"chmod 600 {at_home}"),
        ("warn", f"chmod 700 {at_home.parent / 'data'}"),
    ]


@pytest.mark.parametrize(("free", "level"), [(100 << 20, "fail"), (1 << 30, "warn"), (1 << 40, "ok")])
def test_room_on_the_disk(at_home, monkeypatch, free, level):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert machine.disk(case_of(at_home))[0].level == level


@pytest.mark.parametrize(("taken", "level"), [(0.1, "ok"), (50.0, "ok"), (200.0, "warn")])
def test_the_speed_of_a_synced_write_is_told_in_words(at_home, monkeypatch, taken, level):
    monkeypatch.setattr(machine, "_synced_writes", lambda path: taken)
    found = one(machine.disk(case_of(at_home)), "disk-sync")
    assert found.level == level and f"{taken:.1f} ms" in found.what


def test_memory_and_its_guard(at_home, monkeypatch):
    facts = {"MemAvailable": 100 << 20, "SwapTotal": 1 << 30}
    monkeypatch.setattr(machine, "_meminfo", lambda: facts)
    sentence = "memory may be swapped to disk, since the limit of locked memory is low: set LimitMEMLOCK=infinity"
    low, swap = machine.memory(case_of(at_home), lambda: [sentence])
    assert (low.level, swap.level, swap.remedy) == ("warn", "warn", "set LimitMEMLOCK=infinity")
    facts["SwapTotal"] = 0
    assert "there is no swap" in machine.memory(case_of(at_home), lambda: [sentence])[1].what
    monkeypatch.setattr(machine, "_meminfo", dict)
    assert [f.level for f in machine.memory(case_of(at_home), list)] == ["skip", "ok"]


@pytest.mark.parametrize(("state", "level"), [(None, "skip"), (0, "ok"), (5, "warn")])
def test_the_clock_service(at_home, monkeypatch, state, level):
    monkeypatch.setattr(machine, "_clock_state", lambda: state)
    assert machine.clock_service(case_of(at_home))[0].level == level


# -- what lies at home


def test_a_genesis_that_is_another_ones(at_home):
    case = case_of(at_home)
    own = case.genesis.hash.hex()
    assert home.genesis(case, own.upper())[0].level == "ok"
    assert "not 00" in home.genesis(case, "00" * 32)[0].what
    case.status = SimpleNamespace(genesis="11" * 32)
    assert "the running node has the genesis 1111" in home.genesis(case)[0].what
    (at_home.parent / "genesis.toml").write_text("x = 1")
    assert home.genesis(case)[0].level == "fail"
    (at_home.parent / "genesis.toml").unlink()
    assert home.genesis(case)[0].level == "fail"


@pytest.mark.parametrize(
    ("own", "others", "level"),
    [("0.1.0", ["0.1.0", "0.1.0"], "ok"), ("0.1.0", ["9.0.0", "9.0.0", "0.1.0"], "warn"),
     ("0.1.0", ["9.0", ""], "warn"), ("0.2.0", [], "warn"), ("0.1.0", ["x.y", "9" * 30, "-1"], "ok")],
)  # fmt: skip
def test_the_version_against_the_others(at_home, monkeypatch, own, others, level):
    monkeypatch.setattr(home, "version", lambda name: "0.1.0")
    reports = [SimpleNamespace(version=other) for other in others]
    case = case_of(at_home, status=SimpleNamespace(version=own, reports=reports))
    assert home.own_version(case)[0].level == level


def test_key_files_that_a_node_would_refuse(at_home):
    folder = at_home.parent
    (folder / "signing.key").chmod(0o644)
    found = home.key_files(case_of(at_home))
    assert [f.level for f in found] == ["ok", "fail"] and found[1].remedy == f"chmod 600 {folder / 'signing.key'}"
    (folder / "signing.key").unlink()
    assert home.key_files(case_of(at_home))[1].level == "fail"
    write_key(folder / "signing.key", guest_keys().signing_key)
    assert "plain WIF" in home.key_files(case_of(at_home))[1].what
    (folder / "signing.key").write_text("hello")
    assert home.key_files(case_of(at_home))[1].level == "fail"
    (folder / "signing.key").unlink()
    (folder / "account.key").rename(folder / "signing.key")
    assert "the key of the role account" in home.key_files(case_of(at_home))[1].what


def test_a_password_that_does_not_fit_and_a_key_in_two_roles(at_home):
    folder = at_home.parent
    assert home.open_all(case_of(at_home), lambda: "wrong")[0].level == "fail"
    (folder / "signing.key").unlink()
    key = guest_keys().account_key
    write_sealed(folder / "signing.key", key, info_of(key, "signing", "newcomer", CREATED, "TST"), PASSWORD)
    found = home.open_all(case_of(at_home), lambda: PASSWORD)[0]
    assert found.level == "fail" and "both the account key and a signing key" in found.what


def test_a_store_of_another_group_or_none(at_home):
    from state.store import LevelStore

    case = case_of(at_home)
    folder = at_home.parent / "data/state"
    assert home.store(case)[0].level == "ok" and not folder.exists()
    held = LevelStore(folder, case.genesis.hash)
    assert "is held by a process" in home.store(case)[0].what
    held.close()
    assert "opens, at height -1" in home.store(case)[0].what
    case.genesis = replace(case.genesis, hash=bytes(32))
    assert home.store(case)[0].level == "fail"


def test_the_journal_is_looked_at_and_left_as_it_is(at_home):
    data = at_home.parent / "data"
    case = case_of(at_home)
    assert "none yet" in home.journal(case)[0].what
    (data / "state").mkdir()
    (data / "state/CURRENT").write_text("")
    assert home.journal(case)[0].level == "warn"
    journal = Journal(data / "journal", case.genesis.hash)
    journal.begin(100, 5, 0)
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    assert home.journal(case)[0].what == "whole, since block 100"
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()} == before
    (data / RESTORED).write_text("")
    assert "copied or restored" in home.journal(case)[0].what
    (data / "journal").write_text("garbage\nmore\n")
    assert home.journal(case)[0].level == "fail"
    (data / "journal").chmod(0o666)
    assert home.journal(case)[0].remedy == f"chmod 600 {data / 'journal'}"


def test_the_archive_is_a_folder_that_can_be_written(at_home):
    text = at_home.read_text()
    at_home.write_text(text + '[feed]\narchive = "archive"\n')
    assert one(home.folders(case_of(at_home)), "archive").level == "ok"
    (at_home.parent / "archive").write_text("")
    assert one(home.folders(case_of(at_home)), "archive").level == "fail"


# -- what is around


def listening(case, **http):
    case.config = replace(case.config, http=HttpConfig(**http))
    return asyncio.run(around.http(case))


def test_the_own_address(at_home):
    case = case_of(at_home)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert listening(case, listen=f"127.0.0.1:{port}")[0].level == "fail"
        case.status = SimpleNamespace(height=1)
        assert "is the running node's" in listening(case, listen=f"127.0.0.1:{port}")[0].what
    assert listening(case, listen=f"127.0.0.1:{port}")[0].level == "warn"
    case.status = None
    assert listening(case, listen=f"127.0.0.1:{port}")[0].level == "ok"
    assert listening(case, listen="203.0.113.9:80")[0].level == "fail"


def test_off_loopback_it_wants_tokens_and_tls(at_home, tmp_path):
    case = case_of(at_home)
    assert one(listening(case, listen="0.0.0.0:0"), "http-access").level == "warn"
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdef0123\n")
    assert one(listening(case, listen="0.0.0.0:0", tokens_file=tokens), "http-access").level == "fail", "mode"
    tokens.chmod(0o600)
    assert "can be read on its way" in one(listening(case, listen="0.0.0.0:0", tokens_file=tokens), "http-access").what
    none = tmp_path / "none.crt"
    found = listening(case, listen="0.0.0.0:0", tokens_file=tokens, certificate=none, key=none)
    assert named(found, "http-tls") and one(found, "http-access").level == "ok"


def peer(case, answer, path_of=None):
    async def main():
        async def handle(request):
            return answer(request.path)

        app = web.Application()
        app.router.add_get("/{tail:.*}", handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                return await around.peers(case, session, {url: "bob"})
        finally:
            await runner.cleanup()

    [found] = asyncio.run(main())
    return found


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (lambda path: web.json_response({"ok": True}), "ok"),
        (lambda path: web.json_response([1]), "warn"),
        (lambda path: web.Response(text="<html>"), "warn"),
        (lambda path: web.Response(body=b"[" * 50_000), "warn"),
        (lambda path: web.Response(body=bytes(around.MAX_ANSWER + 1)), "warn"),
        (lambda path: web.Response(status=500), "warn"),
        (lambda path: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "warn"),
    ],
)
def test_a_peer(at_home, answer, level):
    found = peer(case_of(at_home), answer)
    assert (found.name, found.level) == ("peer bob", level)


@pytest.mark.parametrize(("root", "level"), [("aa", "ok"), ("bb", "warn"), (5, "ok"), (None, "ok")])
def test_a_peers_root_against_ours(at_home, root, level):
    status = SimpleNamespace(round=SimpleNamespace(height=40, own_root="aa"))

    def answer(path):
        return web.json_response({"root": root} if path == "/v1/roots/40" else {"ok": True})

    found = peer(case_of(at_home, status=status), answer)
    assert found.level == level
    assert level == "ok" or "waggle diff" in found.remedy


def test_a_remote_signer(at_home, tmp_path):
    case = case_of(at_home)

    def at(url, **files):
        case.config = replace(case.config, signer=SignerConfig(url, **files))
        return asyncio.run(around.signer(case))[0]

    path = tmp_path / "s"
    assert at(f"unix:{path}").level == "fail"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert at(f"unix:{path}").level == "ok"
    none = tmp_path / "none"
    assert at("tls://127.0.0.1:1", certificate=none, key=none, authority=none).level == "fail"
    assert os.path.exists(path)
