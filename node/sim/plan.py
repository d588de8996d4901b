"""What one seed draws: a group, its parameters, and a schedule of faults. Nothing else of a run is random but latency.

Each fault is an entry of its own, so that a failing schedule can be cut down: taking one away changes no other.
"""

from random import Random
from typing import Any

import msgspec

from node.devnet.founding import RECEIVER

SLOT_MS = 3_000
SERVERS = 3
#: A server more than these is run by one of these operators.
OPERATORS = 4


class Fault(msgspec.Struct, frozen=True):
    """A fault from ``slot`` on, until the slot ``until`` (the same for one that happens at a moment).

    ``who`` is the account of the member that it strikes, ``server`` the number of a server, ``n`` whatever the kind
    makes of it (a count, a choice).
    """

    kind: str
    slot: int
    until: int
    who: str
    server: int
    n: int


class Kind(msgspec.Struct, frozen=True):
    """How a kind of fault is drawn: whom it strikes, for how long, and how often in a seed that has it."""

    what: str
    target: str = "member"  # member | traitor | spare | group
    rounds: tuple[int, int] = (0, 0)  # how long; 0, 0 = a moment
    most: int = 2
    weight: int = 1  # how much more often than others a seed has it


#: What members decide together; drawn apart, so that the faults stay what they were.
POLITICS: dict[str, Kind] = {
    "tokens_moved": Kind("tokens are sent, locked and unlocked", "group", (3, 20), 2),
    "proposals": Kind("proposals, votes, changes of parameters", "group", (4, 20), 2),
    "stopping": Kind("halts, held rotations, vetoes, marked transactions", "group", (2, 8), 2),
}
KINDS: dict[str, Kind] = {
    # processes and disks
    "kill_before_write": Kind("killed before a write", most=3, weight=2),
    "kill_mid_write": Kind("killed in the middle of a write", most=3, weight=2),
    "kill_after_write": Kind("killed after a write", most=3),
    "kill_after_journal": Kind("killed between journal and signature", most=3, weight=2),
    "kill_before_broadcast": Kind("killed between signature and broadcast", most=3),
    "kill_after_broadcast": Kind("killed between broadcast and remembering it", most=3),
    "pause": Kind("paused for rounds", rounds=(1, 6)),
    "down": Kind("switched off for rounds", rounds=(1, 6), weight=2),
    "store_torn": Kind("the newest writes of the store are lost"),
    "store_lost": Kind("the store is lost", weight=2),
    "backup_restored": Kind("everything is restored from an old backup, the journal too", rounds=(1, 8)),
    "twin": Kind("two processes with the same keys", rounds=(1, 6), weight=2),
    "journal_copied": Kind("keys, journal and state are copied to another machine", weight=2),
    "snapshot_restored": Kind("the store is lost, and a snapshot takes its place", rounds=(1, 6), weight=3),
    "rewound": Kind("the operator takes the state back", most=3, weight=2),
    "state_corrupted": Kind("a value in a node's state is changed behind its back", weight=2),
    # servers
    "api_timeout": Kind("a server is silent", rounds=(0, 3), weight=2),
    "api_error": Kind("a server answers with errors", rounds=(0, 3), weight=2),
    "api_late": Kind("a server answers late", rounds=(1, 4), weight=2),
    "old_head": Kind("a server stands still and shows an old head", rounds=(1, 4), weight=2),
    "gap": Kind("a server leaves out a block", rounds=(0, 1), weight=3),
    "other_fork": Kind("a server gives a block of another fork", rounds=(0, 1), weight=2),
    "tx_left_out": Kind("a server leaves a transaction out of a block", rounds=(0, 1), weight=3),
    "tx_changed": Kind("a server changes a transaction of a block", rounds=(0, 1), weight=3),
    "truncated_json": Kind("a server's answers are cut short", rounds=(0, 1)),
    "huge_json": Kind("a server's answers never end", rounds=(0, 1)),
    "broadcast_unheard": Kind("a broadcast fails, but was included", rounds=(1, 4), weight=3),
    "broadcast_dropped": Kind("a broadcast is accepted and dropped", rounds=(1, 4), weight=3),
    "clock_skew": Kind("a server's and a machine's clock are wrong", rounds=(1, 6), weight=2),
    "liar": Kind("a server lies to everybody, in every way that can be shown", "group", (0, 3), 3, weight=2),
    "behind": Kind("a server is always some blocks behind", "group", (3, 15), 3, weight=2),
    # the chain
    "stall": Kind("irreversibility stands still, then jumps", "group", (5, 15), 1, weight=2),
    "reorg": Kind("irreversibility stands still, and the chain changes to another fork", "group", (3, 10), 1),
    "read_ahead": Kind(
        "a node reads ahead of irreversibility, onto a fork that dies", rounds=(3, 10), most=1, weight=2
    ),
    "missed_blocks": Kind("witnesses miss blocks", "group", (0, 2)),
    # members
    "leader_silent": Kind("whoever leads a transmission does not broadcast", "group", (1, 6), weight=2),
    "all_but_threshold_silent": Kind(
        "only as many signers as the threshold needs are heard", "group", (1, 4), 1, weight=2
    ),
    "false_root": Kind("reports a false root", "traitor", (1, 6), weight=3),
    "false_header": Kind("reports a false header", "traitor", (1, 6), weight=3),
    "double_report": Kind("reports twice, differently", "traitor", (1, 6), weight=3),
    "no_rotation_signature": Kind("signs no rotation", "traitor", (6, 15), most=3, weight=6),
    "refusing": Kind("refuses to sign", "traitor", (1, 6), weight=4),
    # signatures of others
    "forged_signature": Kind("a signature by nobody", "group", (1, 6), 1, weight=2),
    "foreign_signature": Kind("a signature by a key that is no signer", "group", (1, 6), 1, weight=2),
    "stale_signature": Kind("a signature for a transaction that is gone", "group", (1, 6), 1, weight=3),
    "duplicate_signature": Kind("a signature once more, by somebody else", "group", (1, 6), 1, weight=2),
    # seats and authorities
    "key_change": Kind("a member changes its signing key"),
    "key_theft": Kind("a member claims another member's key"),
    "seat_bought": Kind("a member with more collateral registers", "spare", weight=2),
    "seat_emptied": Kind("a runner leaves, and registers again later", rounds=(2, 8)),
    "account_update": Kind("the authority is changed from outside by account_update", "group", weight=2),
    "account_update2": Kind("the authority is changed from outside by account_update2", "group", weight=2),
    "recover_account": Kind("owner is recovered by the recovery account", "group", most=1, weight=2),
    # what Hive refuses
    "no_funds": Kind("a payout of more than the group has", "group", most=1, weight=2),
    "unknown_receiver": Kind("a payout to nobody", "group", most=1, weight=2),
    "no_credits": Kind("the group account has no resource credits", "group", (1, 5), 1, weight=2),
    **POLITICS,
}
#: Happens by itself and is counted.
OBSERVED = {
    "payout_across_rotation": "a payout in flight while a rotation is confirmed",
    "overtaken": "the authority changed between the question and the broadcast",
    "banned": "a server was banned for a lie",
    "ban_over": "a banned server was asked again when its ban was over",
    "fork_left": "a node left a dead fork by itself",
    "diverged": "a node halted because the group agreed on another root",
    "healed": "a node that differed replayed blocks of other servers, and was well",
    "repaired": "a damaged store was made anew from the node's own snapshot",
    "signed_elsewhere": "a node saw a signature of its keys that its journal lacked",
    "journal_held": "keys signed nothing because their journal was younger",
    "journal_confirmed": "the operator confirmed a young journal",
}


class Plan(msgspec.Struct, frozen=True):
    """Everything that a run depends on."""

    seed: int
    runners: int
    spares: int
    parameters: dict[str, Any]
    payouts: tuple[dict[str, Any], ...]
    collateral: dict[str, int]
    lag: int
    poll_ms: int
    on_disk: bool
    second_opinion: bool
    traitors: tuple[str, ...]
    quiet: int  # slot from which on no fault happens
    slots: int
    faults: tuple[Fault, ...]
    servers: int = SERVERS
    balances: dict[str, int] = {}

    @property
    def members(self) -> int:
        """All that have a node, seated or not."""
        return self.runners + self.spares


def name_of(number: int) -> str:
    """The account of member ``number`` (from 1)."""
    return f"runner{number:02}"


def source_of(account: str, servers: int = SERVERS) -> int:
    """The server that a member asks first."""
    return int(account.removeprefix("runner")) % servers


def operator_of(server: int) -> int:
    """Who runs a server."""
    return server % OPERATORS


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"waggle sim {seed}")
    is_long = random.random() < 0.1
    length = 100 if is_long else 20
    nodes = random.randint(5, 6) if is_long else random.randint(5, 9)
    spares = random.randint(0, min(2, nodes - 4))
    lifetimes = [draw_lifetime(random, is_long), draw_lifetime(random, is_long)]
    parameters = draw_parameters(random, length, lifetimes, nodes - spares)
    rounds = max(30, 2 * max(lifetimes) + 1)
    quiet = (rounds - max(lifetimes) - 5) * length
    traitors = _traitors(random, nodes - spares)
    plan = Plan(
        seed=seed,
        runners=nodes - spares,
        spares=spares,
        parameters=parameters,
        payouts=(),
        collateral={
            name_of(n): random.randint(900, 3_000) + (3_000 if n > nodes - spares else 0) for n in range(1, nodes + 1)
        },
        lag=random.choice([1, 1, 2, 4, 16 if is_long else 3]),
        poll_ms=random.choice([6_000, 9_000] if is_long else [1_500, 3_000, 3_000, 6_000]),
        on_disk=random.random() < 0.1,
        second_opinion=random.random() < 0.02,
        traitors=traitors,
        quiet=quiet,
        slots=rounds * length,
        faults=(),
        servers=random.choice([SERVERS, SERVERS, SERVERS + 1, SERVERS + 2]),
    )
    faults = draw_faults(random, plan)
    plan = msgspec.structs.replace(plan, faults=faults, payouts=draw_payouts(random, plan, faults))
    return draw_govern(Random(f"waggle sim politics {seed}"), plan)


def draw_govern(random: Random, plan: Plan) -> Plan:
    """Half of the seeds have governance: tokens, limits that matter, and members who use them."""
    if random.random() < 0.5:
        return plan
    parameters = {
        **plan.parameters,
        "unlock_part": random.randint(3, 40),
        "spend_limit_hive": random.choice([0, 100, 2_000, 20_000]),
        "spend_window": random.randint(20, 200),
        "large_hive": random.choice([0, 30, 10_000]),
        "large_delay": random.randint(0, 20),
        "change_delay": random.choice([0, 20]),
        "halt_blocks": random.randint(10, 60),
    }
    found = []
    for kind, how in POLITICS.items():
        if random.random() < 0.7:
            found += [_fault(random, plan, kind, how) for _ in range(random.randint(1, how.most))]
    faults = (*plan.faults, *(fault for fault in found if fault is not None))
    return msgspec.structs.replace(
        plan,
        parameters=parameters,
        faults=tuple(sorted(faults, key=lambda f: (f.slot, f.kind, f.who))),
        balances={name_of(n): random.choice([5, 100, 1_000]) for n in range(1, plan.members + 1)},
    )


def draw_lifetime(random: Random, is_long: bool) -> int:
    """In rounds; short ones more often, so that expiry happens often."""
    return random.randint(6, 8) if is_long else min(random.randint(6, 20), random.randint(6, 20))


def draw_parameters(random: Random, length: int, lifetimes: list[int], runners: int) -> dict[str, Any]:
    round_seconds = 3 * length
    rules = random.choice([27, 28])
    header, payload = (rounds * round_seconds for rounds in lifetimes)
    return {
        "round_length": length,
        "report_at": length // 2,
        "recast_every": random.randint(3, 10) if length == 20 else random.randint(5, 30),
        "header_lifetime": min(header, 3_600) if rules == 27 else header,
        "header_min_left": random.choice([15, 30, 60]),
        "rotation_lifetime": random.randint(2, 6) * round_seconds,
        "payload_lifetime": payload,
        "absent_rounds": random.randint(3, 7),
        "seat_rounds": random.randint(0, 3),
        "ripe_rounds": random.randint(1, 3),
        "max_runners": random.choice([runners, runners, runners + 1, 25]),
        "min_signers": 3,
        "rotation_patience": random.randint(1, 4),
        "rotate_owner": random.random() < 0.5,
        "rotate_posting": random.random() < 0.5,
        "max_in_flight": random.randint(2, 5),
        "max_merge": random.randint(1, 5),
        "max_attempts": random.randint(1, 3),
        "max_queue": random.choice([20, 1_000]),
        "history": random.randint(max(100, 2 * length), 600),
        "trace_keep": max(2 * length, random.randint(100, 200)),
        "hive_rules": rules,
    }


def _traitors(random: Random, runners: int) -> tuple[str, ...]:
    """Fewer than could sign or stop alone, and not the founder, in whose hands everything is in the beginning."""
    most = 1 if runners < 7 else 2
    return tuple(sorted(random.sample([name_of(n) for n in range(2, runners + 1)], random.choice([0, most, most]))))


def draw_faults(random: Random, plan: Plan) -> tuple[Fault, ...]:
    """Each seed has some kinds only: so rare combinations come together often."""
    share = random.choice([0.03, 0.12, 0.2, 0.35])
    found = []
    for kind, how in KINDS.items():
        if kind in POLITICS:
            continue
        if random.random() < share * how.weight:
            found += [_fault(random, plan, kind, how) for _ in range(random.randint(1, how.most))]
            # who signs no rotation is noticed only where there are rotations: of new keys
            if kind == "no_rotation_signature" and plan.traitors:
                found += [_fault(random, plan, "key_change", KINDS["key_change"]) for _ in range(3)]
    return tuple(sorted((f for f in found if f is not None), key=lambda f: (f.slot, f.kind, f.who)))


def _fault(random: Random, plan: Plan, kind: str, how: Kind) -> Fault | None:
    length = plan.parameters["round_length"]
    slot = random.randint(length // 2, plan.quiet - 2)
    blocks = random.randint(how.rounds[0] * length, how.rounds[1] * length)
    until = min(plan.quiet - 1, slot + blocks) if how.rounds[1] else slot
    spares = [name_of(n) for n in range(plan.runners + 1, plan.members + 1)]
    crowd = {
        "member": [name_of(n) for n in range(1, plan.members + 1)],
        "traitor": list(plan.traitors),
        "spare": spares,
        "group": [""],
    }[how.target]
    place, server, n = random.random(), random.randrange(2 * plan.servers), random.randrange(1 << 16)
    if not crowd:
        return None
    who = crowd[int(place * len(crowd))]
    # more often than not the server that the member reads its blocks from
    server = server if server < plan.servers or not who else source_of(who, plan.servers)
    return Fault(kind, slot, max(slot, until), who, server % plan.servers, n)


def draw_payouts(random: Random, plan: Plan, faults: tuple[Fault, ...]) -> tuple[dict[str, Any], ...]:
    """Standing payouts of the genesis: good ones, and those that Hive will never take."""
    length = plan.parameters["round_length"]
    found = [_payout(RECEIVER, 10 + n, length * random.randint(1, 4) + random.randint(0, 9)) for n in range(2)]
    kinds = {fault.kind for fault in faults}
    rarely = plan.quiet // 2 + random.randint(0, length)
    if "no_funds" in kinds:
        found.append(_payout(RECEIVER, 2_000_000_000, rarely))
    if "unknown_receiver" in kinds:
        found.append(_payout("nobody-at-all", 10, rarely + random.randint(1, length)))
    return tuple(found)


def _payout(to: str, amount: int, every: int) -> dict[str, Any]:
    return {"to": to, "amount": amount, "asset": "HIVE", "every": every, "memo": f"{amount} to {to}"}
