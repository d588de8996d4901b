"""A founded group in this process whose seats govern: each speaks in a custom_json of its own."""

import json
from pathlib import Path
from typing import Any

from node.devnet.founding import CHAIN, GROUP, member_keys
from node.devnet.group import VirtualGroup
from node.signer.policy import Policy
from processors.hive.block import reference_prefix
from processors.hive.operations import active_custom_json
from processors.hive.transaction import Transaction
from processors.offered import OFFERED
from state.schema import DECIDED, DONE, PROPOSALS, QUEUE, Done
from tests.node.test_core import any_state, new_group, run_to_founded

Ops = list[Any]

#: Limits that hold nothing back; no payload is large.
GENEROUS = {
    "spend_limit_hive": 10**9,
    "spend_limit_hbd": 10**9,
    "large_hive": 2**53,
    "large_hbd": 2**53,
    "change_delay": 0,
    "halt_blocks": 120,
}
#: It signs whatever a proposal can hold.
WILLING = Policy(allow=("rotation", "standing", "proposal", *sorted(OFFERED)))


def governed(folder: Path, members: int = 3, **parameters: Any) -> VirtualGroup:
    """A group that holds its account, with no payouts but those that its seats decide."""
    group = new_group(folder, members, payouts=[], parameters={**GENEROUS, **parameters}, policy=WILLING)
    run_to_founded(group)
    group.run(2)
    return group


def transfer(amount: str = "1.000", to: str = "receiver", memo: str = "", asset: str = "TESTS") -> Ops:
    """A transfer of the group, as a proposal holds it."""
    return ["transfer", {"from": GROUP, "to": to, "amount": f"{amount} {asset}", "memo": memo}]


def say(group: VirtualGroup, account: str, name: str, /, **body: Any) -> bytes:
    """One custom_json of a member, signed and submitted; its id."""
    chain = group.chain
    operation = active_custom_json(account, group.genesis.prefix + name, json.dumps(body, ensure_ascii=False))
    tx = Transaction(chain.head_number & 0xFFFF, reference_prefix(chain.head_id), chain.head_time + 300, (operation,))
    return chain.submit(member_keys(int(account[-2:])).account_key.sign_transaction(tx, CHAIN))


def seen(group: VirtualGroup) -> None:
    """Until every node has applied what was submitted before."""
    number = group.chain.head_number + 1
    group.run_until(lambda: any_state(group).height >= number, 40)


def propose(group: VirtualGroup, *ops: Ops, by: str = "runner01", lasts: int = 1_000) -> int:
    """A proposal of operations; its number."""
    say(group, by, "propose", ops=list(ops), expires=any_state(group).height + lasts)
    seen(group)
    return any_state(group).need(PROPOSALS).last


def propose_change(group: VirtualGroup, name: str, value: int, *, by: str = "runner01", delay: int = 0) -> int:
    """A proposal to change a parameter; its number."""
    expires = any_state(group).height + 1_000
    say(group, by, "propose_change", name=name, value=value, delay=delay, expires=expires)
    seen(group)
    return any_state(group).need(PROPOSALS).last


def all_say(group: VirtualGroup, name: str, /, **body: Any) -> None:
    """The same of every member."""
    for account in sorted(group.nodes):
        say(group, account, name, **body)
    seen(group)


def approve(group: VirtualGroup, *ops: Ops, by: str = "runner01") -> int:
    """A proposal that everybody votes for; its payload's number."""
    number = propose(group, *ops, by=by)
    all_say(group, "vote", id=number, yes=True)
    found = any_state(group).need(DECIDED, number)
    assert found.status == "approved"
    return found.payload


def done(group: VirtualGroup, payload: int, limit: int = 200) -> Done:
    """Until a payload has come to its end; that."""
    group.run_until(lambda: any_state(group).get(DONE, payload) is not None, limit)
    return any_state(group).need(DONE, payload)


def out(group: VirtualGroup, *ops: Ops) -> tuple[int, str]:
    """An approved payload in a group transaction that nobody has signed, and the id of that; nobody will sign it."""
    group.refuses = lambda account, item: item.content.startswith("sign")
    payload = approve(group, *ops)
    state = any_state(group)
    group.run_until(lambda: state.need(QUEUE, payload).out != "", 200)
    return payload, state.need(QUEUE, payload).out
