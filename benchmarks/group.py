"""From queued to confirmed: 25 real agents on virtual time, lag 1, over 10 rotations."""

import json
import tempfile
from pathlib import Path

from benchmarks.table import Row, of
from benchmarks.world import members, registration
from node.devnet.founding import MemberKeys, devnet_key, found, genesis_document, new_chain
from node.devnet.group import VirtualGroup
from processors.hive.block import reference_prefix
from processors.hive.operations import active_custom_json
from processors.hive.transaction import Transaction
from state.schema import DONE, NODE, QUEUE

MEMBERS, ROTATIONS = 25, 10
PARAMETERS = {"round_length": 100, "ripe_rounds": 1, "rotation_patience": 1, "seat_rounds": 100, "rotate_owner": False}


def register(group: VirtualGroup, member: MemberKeys) -> None:
    """node_add with the member's present signing key."""
    chain = group.chain
    operation = active_custom_json(member.account, "waggle_node_add", json.dumps(registration(group.genesis, member)))
    prefix, expiration = reference_prefix(chain.head_id), chain.head_time + 300
    tx = Transaction(chain.head_number & 0xFFFF, prefix, expiration, (operation,))
    chain.submit(member.account_key.sign_transaction(tx, chain.chain))


def confirmations() -> list[float]:
    """Blocks from queued to confirmed of each rotation: in every round one member takes a new key."""
    people = members(MEMBERS)
    chain = new_chain(people, people[0], lag=1)
    genesis = found(genesis_document(people, start_block=100, parameters=PARAMETERS))
    queued: dict[int, int] = {}
    found_blocks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        group = VirtualGroup(chain, genesis, Path(folder))
        for turn, member in enumerate(people):
            # every signer holds its present key and the next one, as an operator's does while it changes keys
            nodes_next = devnet_key(f"{member.account} signing {turn}")
            group.join(member, extra_keys=(nodes_next,))
        state = group.nodes[people[0].account].state
        turn = 0
        while len(found_blocks) < ROTATIONS:
            group.step()
            for (number,), payload in state.walk(QUEUE):
                queued.setdefault(int(number), payload.queued)
            for number in list(queued):
                done = state.get(DONE, number)
                if done is not None:
                    found_blocks.append(done.height - queued.pop(number))
                    if len(found_blocks) < ROTATIONS and turn < MEMBERS:
                        member = people[turn]
                        fresh = MemberKeys(
                            member.account, member.account_key, devnet_key(f"{member.account} signing {turn}")
                        )
                        register(group, fresh)
                        turn += 1
        assert not group.refusals, group.refusals[:3]
        assert len({node.state.trace(state.height) for node in group.nodes.values()}) == 1
        assert sum(1 for _ in state.walk(NODE)) == MEMBERS
    return found_blocks


def all_rows() -> list[Row]:
    """Median and worst."""
    figures = confirmations()
    median = of(f"queued to confirmed, {MEMBERS} agents, {ROTATIONS} rotations", figures, " blocks", 8, higher=False)
    return [median, of("the worst of them", [max(figures)], " blocks", 8, higher=False)]
