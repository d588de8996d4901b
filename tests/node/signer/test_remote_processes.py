"""`waggle run` without a signing key and `waggle signer` with it, as two processes on a devnet."""

import asyncio
import subprocess
import sys

import pytest

from node.devnet.cluster import Cluster
from node.devnet.scenarios import founded
from node.devnet.watching import PARAMETERS, PAYOUT, payments, until

pytestmark = pytest.mark.processes

_SIGNER = """\
[signer]
account = "runner02"
genesis = "../genesis.toml"
data = "signer"
listen = "unix:signer.sock"
[keys]
signing = "signing.wif"
[log]
format = "json"
"""


class WithSigner(Cluster):
    """A cluster whose second member signs remotely."""

    signer: subprocess.Popen | None = None

    async def start_node(self, account):
        if account == "runner02" and self.signer is None:
            await self.start_signer()
            config = self.folder / account / "config.toml"
            text = config.read_text().replace('signing = "signing.wif"\n', "")
            config.write_text(text.replace("[log]", '[signer]\nurl = "unix:signer.sock"\n\n[log]'))
        await super().start_node(account)

    async def start_signer(self):
        home = self.folder / "runner02"
        (home / "signer.toml").write_text(_SIGNER)
        command = [sys.executable, "-m", "node.cli", "signer", "--config", home / "signer.toml"]
        with open(home / "signer.log", "ab") as log:
            self.signer = subprocess.Popen(command, stdout=log, stderr=log)
        while '"signer_listens"' not in (home / "signer.log").read_text() and self.signer.poll() is None:
            await asyncio.sleep(0.05)


def test_the_group_is_founded_and_needs_the_remote_signer(tmp_path):
    async def play():
        cluster = WithSigner(tmp_path, 4, interval=0.03, lag=1)
        try:
            await cluster.start(PARAMETERS, payouts=[PAYOUT])
            await founded(cluster)
            await cluster.kill_node("runner04")  # of four, three must sign: nothing is paid without the remote signer
            before = len(payments(cluster))
            await until(cluster, "paid by three", lambda: len(payments(cluster)) >= before + 2, 12)
            cluster.signer.kill()
            cluster.signer.wait(10)
            await cluster.start_signer()
            before = len(payments(cluster))
            await until(cluster, "paid after the signer came back", lambda: len(payments(cluster)) >= before + 2, 16)
            assert cluster.died() == []
        finally:
            await cluster.stop()
            if cluster.signer is not None:
                cluster.signer.terminate()
        assert cluster.signer.wait(10) == 0

    asyncio.run(play())
    home = tmp_path / "runner02"
    assert not (home / "data/journal").exists(), "the node signs nothing"
    assert (home / "signer/journal").read_text()
    for name in ("node.log", "signer.log"):
        assert "Traceback" not in (home / name).read_text()
        assert (home / "signing.wif").read_text().strip() not in (home / name).read_text()
