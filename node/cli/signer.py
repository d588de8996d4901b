"""`waggle signer`: keys, policy and journal in a process of their own."""

import asyncio
import signal
import ssl
from pathlib import Path

import click

from node.assembly import load_genesis, open_state
from node.core import Log
from node.errors import NodeError
from node.log import make_log
from node.signer.approvals import Approvals
from node.signer.guard import guard_memory, lock_no_more
from node.signer.journal import Journal
from node.signer.keys import SecretKey, open_keys
from node.signer.passwords import once, source
from node.signer.peers import admitted
from node.signer.replica import Replica
from node.signer.service import Service, listen, run_service, tls_context
from node.signer.service_config import ServiceConfig, load_service_config
from node.signer.signer import Signer
from processors.genesis import Genesis
from processors.hive.keys import public_key_to_text
from state.errors import StateError
from state.store import LevelStore


@click.command()
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The signer's configuration, signer.toml; docs/signer.md explains every key.",
)
def signer(config_path: Path) -> None:
    """Hold the signing keys for a node, in this process, until SIGTERM or Ctrl-C.

    The node has [signer] url instead of keys.signing and streams its blocks here; the signer believes none of them
    before the group's own reports do.

    Example:  waggle signer --config /etc/waggle/signer.toml
    """
    config = load_service_config(config_path)
    log = make_log(config.log_format, config.log_level)
    for sentence in guard_memory():
        log("unguarded", {"what": sentence})
    genesis = load_genesis(config.genesis)
    opened = open_keys(list(config.signing_keys), once(source(config.password)), role="signing")
    for path in opened.plain:
        log("plain_key", {"path": str(path), "remedy": "waggle keys import it, then destroy the file"})
    lock_no_more()
    replica = open_replica(config, genesis, opened.keys, log)
    try:
        asyncio.run(_serve(config, replica, log))
    except (NodeError, StateError) as error:
        log("stopped", {"error": str(error)})
        raise
    finally:
        replica.state.close()
    log("stop", {"height": replica.height, "outcome": "clean"})


def open_replica(config: ServiceConfig, genesis: Genesis, keys: list[SecretKey], log: Log) -> Replica:
    """The signer of a configuration, its store open. Raises NodeError, StateError."""
    store = LevelStore(config.data / "state", genesis.hash)
    try:
        journal = Journal(config.data / "journal", genesis.hash)
        held = Signer(keys, journal, config.policy, genesis, Approvals(config.data / "approvals"))
        state = open_state(genesis, store)
        replica = Replica(genesis, state, held, journal, config.account, config.data, log, trust=config.trust)
    except BaseException:
        store.close()
        raise
    public = [public_key_to_text(key, genesis.chain.address_prefix) for key in held.public_keys]
    about = {"account": config.account, "group": genesis.group, "genesis": genesis.hash.hex()}
    log("start", {**about, "height": replica.height, "keys": public})
    return replica


async def _serve(config: ServiceConfig, replica: Replica, log: Log) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    service = Service(replica, log, admitted(config.users, config.group))
    files = (config.certificate, config.key, config.authority)

    def context() -> ssl.SSLContext:
        certificate, key, authority = (path or Path() for path in files)
        return tls_context(certificate, key, authority, server=True)

    server = await listen(service, config.listen, context)
    log("signer_listens", {"listen": config.listen, "height": replica.height, "vouched": replica.trusted.height})
    await run_service(service, server, stop)
