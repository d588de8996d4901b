"""A stranger's check of a finished devnet: `python stranger.py FOLDER`. It imports nothing of the project.

From genesis.toml it takes the chain id and the authority that the group account began with; from chain/blocks.json
every block. It computes every block id and Merkle root anew, packs the group account's transactions by the published
rules of Hive, recovers their signers with another library, and follows the authority from change to change.
Prints one JSON object; exit 1 and the reason if anything does not hold.
"""

import calendar
import json
import sys
import time
import tomllib
from hashlib import new, sha224, sha256
from pathlib import Path

from ecdsa import SECP256k1, VerifyingKey
from ecdsa.util import sigdecode_string

LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CUSTOM_JSON, TRANSFER, ACCOUNT_UPDATE = 18, 2, 10
SYMBOLS = {"@@000000021": 0, "@@000000013": 1, "@@000000037": 2}


def key_bytes(text):
    number = 0
    for letter in text[3:]:
        number = number * 58 + LETTERS.index(letter)
    raw = number.to_bytes(37, "big")
    assert new("ripemd160", raw[:33]).digest()[:4] == raw[33:], text
    return raw[:33]


def varint(number):
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def text(words):
    return varint(len(words.encode())) + words.encode()


def seconds(stamp):
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S"))


def authority(value):
    """Hive's pack of an optional authority."""
    if value is None:
        return b"\0"
    out = b"\1" + value["weight_threshold"].to_bytes(4, "little") + varint(len(value["account_auths"]))
    for name, weight in value["account_auths"]:
        out += text(name) + weight.to_bytes(2, "little")
    out += varint(len(value["key_auths"]))
    for key, weight in value["key_auths"]:
        out += key_bytes(key) + weight.to_bytes(2, "little")
    return out


def operation(raw, symbols):
    kind, value = raw["type"], raw["value"]
    if kind == "custom_json_operation":
        out = varint(CUSTOM_JSON)
        for field in ("required_auths", "required_posting_auths"):
            out += varint(len(value[field])) + b"".join(map(text, value[field]))
        return out + text(value["id"]) + text(value["json"])
    if kind == "transfer_operation":
        amount = value["amount"]
        name = symbols[SYMBOLS[amount["nai"]]]
        name = {"HIVE": "STEEM", "HBD": "SBD"}.get(name, name)  # real tokens keep their old names in the old pack
        packed = (
            int(amount["amount"]).to_bytes(8, "little") + bytes([amount["precision"]]) + name.encode().ljust(7, b"\0")
        )
        return varint(TRANSFER) + text(value["from"]) + text(value["to"]) + packed + text(value["memo"])
    if kind == "account_update_operation":
        roles = b"".join(authority(value.get(role)) for role in ("owner", "active", "posting"))
        memo_key = key_bytes(value["memo_key"])
        return varint(ACCOUNT_UPDATE) + text(value["account"]) + roles + memo_key + text(value["json_metadata"])
    raise SystemExit(f"an operation that is not expected here: {kind}")


def packed(tx, symbols):
    out = tx["ref_block_num"].to_bytes(2, "little") + tx["ref_block_prefix"].to_bytes(4, "little")
    out += seconds(tx["expiration"]).to_bytes(4, "little") + varint(len(tx["operations"]))
    return out + b"".join(operation(raw, symbols) for raw in tx["operations"]) + b"\0"


def signer(signature, digest):
    raw = bytes.fromhex(signature)
    assert 31 <= raw[0] <= 34 and int.from_bytes(raw[33:], "big") <= SECP256k1.order // 2, "not canonical"
    found = VerifyingKey.from_public_key_recovery_with_digest(raw[1:], digest, SECP256k1, sigdecode=sigdecode_string)
    return found[(raw[0] - 31) % 4].to_string("compressed")


def merkle_root(leaves):
    if not leaves:
        return bytes(20)
    while len(leaves) > 1:
        pairs = [sha256(leaves[i] + leaves[i + 1]).digest() for i in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(leaves) & ~1 :]
    return new("ripemd160", leaves[0]).digest()


def check_block(block, number, previous, symbols):
    """The block's id, computed from its header, after its transactions were."""
    assert block["previous"] == previous, f"block {number} does not follow the one before"
    leaves = []
    for tx in block["transactions"]:
        raw = packed(tx, symbols)
        signatures = b"".join(map(bytes.fromhex, tx["signatures"]))
        leaves.append(sha256(raw + varint(len(tx["signatures"])) + signatures).digest())
    assert merkle_root(leaves).hex() == block["transaction_merkle_root"], f"block {number}: the transactions are others"
    header = bytes.fromhex(previous) + seconds(block["timestamp"]).to_bytes(4, "little") + text(block["witness"])
    header += bytes.fromhex(block["transaction_merkle_root"]) + b"\0" + bytes.fromhex(block["witness_signature"])
    return (number.to_bytes(4, "big") + sha224(header).digest()[4:20]).hex()


def is_met(given, keys):
    return sum(weight for key, weight in given["key_auths"] if key_bytes(key) in keys) >= given["weight_threshold"] > 0


def check(folder):
    genesis = tomllib.loads((folder / "genesis.toml").read_text())
    blocks = json.loads((folder / "chain" / "blocks.json").read_text())["blocks"]
    group, symbols = genesis["group"]["account"], genesis["symbols"]
    held = {role: genesis["group"][role] for role in ("owner", "active", "posting")}
    prefix = genesis["prefix"]
    payments, confirmed, surplus, rotations, seen = [], [], [], 0, set()
    previous = "00" * 20
    for number, block in enumerate(blocks, 1):
        previous = check_block(block, number, previous, symbols)
        assert previous == block["block_id"], f"block {number} has another id"
        for tx in block["transactions"]:
            names = [raw["value"] for raw in tx["operations"]]
            ours = any(group in (v.get("from"), v.get("account"), *v.get("required_auths", ())) for v in names)
            if not ours:
                continue
            raw = packed(tx, symbols)
            txid = sha256(raw).digest()[:20].hex()
            assert txid not in seen, f"{txid} is in the chain twice"
            seen.add(txid)
            digest = sha256(bytes.fromhex(genesis["chain_id"]) + raw).digest()
            keys = [signer(signature, digest) for signature in tx["signatures"]]
            assert keys == sorted(set(keys)), f"{txid}: signatures not in the order of their keys"
            needs = {"active"}
            for entry in tx["operations"]:
                if entry["type"] == "account_update_operation" and entry["value"].get("owner"):
                    needs.add("owner")
            for role in needs:
                assert is_met(held[role], set(keys)), f"{txid}: {role} was not met"
            if any(all(is_met(held[role], set(keys) - {key}) for role in needs) for key in keys):
                surplus.append(txid)  # allowed since hardfork 28: a rotation overtook what was already on its way
            *payload, last = tx["operations"]
            assert last["value"]["id"] == prefix + "ms_signed" and payload, f"{txid} does not confirm itself"
            confirmed.append(json.loads(last["value"]["json"])["op"])
            for entry in payload:
                if entry["type"] == "account_update_operation":
                    rotations += 1
                    held |= {role: entry["value"][role] for role in held if entry["value"].get(role)}
                else:
                    payments.append([txid, entry["value"]["to"], entry["value"]["memo"]])
    assert len(confirmed) == len(set(confirmed)), "a group transaction was confirmed twice"
    found = {"blocks": len(blocks), "rotations": rotations, "payments": payments, "ops": confirmed}
    return {**found, "authority": held, "surplus": surplus}


if __name__ == "__main__":
    try:
        print(json.dumps(check(Path(sys.argv[1]))))
    except AssertionError as wrong:
        sys.exit(f"it does not hold: {wrong}")
