"""Reads the blocks of a devnet and broadcasts to it with beem, as any application would.

python beem_client.py URL ACTIVE_KEY COUNT  ->  one line of JSON. A process of its own: beem keeps the prefix of the
chain that it spoke to for everything after.
"""

import json
import logging
import sys

from beem import Hive
from beem.account import Account
from beem.blockchain import Blockchain


def main(url: str, wif: str, count: str) -> None:
    logging.disable(logging.CRITICAL)
    hive = Hive(node=[url], keys=[wif], num_retries=1)
    blocks = Blockchain(blockchain_instance=hive).blocks(start=1, stop=int(count))
    ids = [block["block_id"] for block in blocks]
    account = Account("alice", blockchain_instance=hive)
    sent = [
        hive.custom_json("beem", {"bee": "🐝"}, required_auths=["alice"]),
        account.transfer("bob", 0.002, "TESTS", memo="from outside: é"),
    ]
    refused = ""
    try:
        account.transfer("bob", 999_999, "TESTS")
    except Exception as error:  # noqa: BLE001 - whatever beem makes of it
        refused = str(error)
    active = account["active"]["key_auths"][0][0]
    answer = {"ids": ids, "sent": [tx["trx_id"] for tx in sent], "refused": refused, "active": active}
    print(json.dumps({**answer, "chain_id": hive.get_network()["chain_id"]}))


main(*sys.argv[1:])
