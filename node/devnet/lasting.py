"""Operations whose effect lasts: votes for witnesses, a proxy, payments that recur (hive_evaluator*.cpp, do_apply()).

Of a payment that recurs the devnet makes the first, which hived makes in the block that holds it; those that follow a
day later and more are beyond a devnet's life.
"""

from typing import Any

from node.devnet.errors import HivedRefusalError, require
from node.devnet.ledger import Ledger, words
from processors.hive.types import Asset

Value = dict[str, Any]

MAX_WITNESS_VOTES = 30
MAX_PROXY_DEPTH = 4
MAX_RECURRENT = 255
MAX_RECURRENT_HOURS = 730 * 24


def witness_vote(ledger: Ledger, value: Value, now: int) -> None:
    """A vote that is given or taken back; each must change something."""
    voter, witness = ledger.account(value["account"]).name, value["witness"]
    require(
        voter not in ledger.proxies,
        "!voter.has_proxy()",
        "A proxy is currently set, please clear the proxy before voting for a witness.",
    )
    if witness not in ledger.witnesses:
        kind = "hive::chain::witness_object"
        raise HivedRefusalError("St12out_of_range", f"unknown key: {witness} of type: name, lookup: {kind}")
    key = (voter, witness)
    if key in ledger.witness_votes:
        exists = "Vote currently exists, user must indicate a desire to reject witness."
        require(not value["approve"], "!o.approve", exists)
        ledger.drop(ledger.witness_votes, key)
        return
    require(value["approve"], "o.approve", "Vote doesn't exist, user must indicate a desire to approve witness.")
    given = sum(name == voter for name, _ in ledger.witness_votes)
    require(
        given < MAX_WITNESS_VOTES,
        "voter.witnesses_voted_for < HIVE_MAX_ACCOUNT_WITNESS_VOTES",
        "Account has voted for too many witnesses.",
    )
    ledger.set(ledger.witness_votes, key, True)


def witness_proxy(ledger: Ledger, value: Value, now: int) -> None:
    """Somebody who votes in the account's place, or nobody again; whoever has a proxy has no votes of his own."""
    name, proxy = ledger.account(value["account"]).name, value["proxy"]
    require(ledger.proxies.get(name, "") != proxy, "account.get_proxy() != new_proxy.get_id()", "Proxy must change.")
    if not proxy:
        ledger.drop(ledger.proxies, name)
        return
    chain = [name, ledger.account(proxy).name]
    while chain[-1] in ledger.proxies:
        following = ledger.proxies[chain[-1]]
        loop = "proxy_chain.insert( next_proxy.get_id() ).second"
        require(following not in chain, loop, "This proxy would create a proxy loop.")
        chain.append(following)
        deep = "proxy_chain.size() <= HIVE_MAX_PROXY_RECURSION_DEPTH"
        require(len(chain) <= MAX_PROXY_DEPTH, deep, "Proxy chain is too long.")
    for key in [key for key in ledger.witness_votes if key[0] == name]:
        ledger.drop(ledger.witness_votes, key)
    ledger.set(ledger.proxies, name, proxy)


def proposal_votes(ledger: Ledger, value: Value, now: int) -> None:
    """hived passes over proposals that there are not, and the devnet has none."""
    ledger.account(value["voter"])


def recurrent_transfer(ledger: Ledger, value: Value, now: int) -> None:
    """A new one pays at once; one that is there is changed, and pays at its next time; an amount of 0 ends it."""
    sender, receiver = ledger.account(value["from"]), ledger.account(value["to"])
    amount, key = value["amount"], (sender.name, receiver.name, _pair(value))
    available = sender.balances[amount.kind]
    require(
        available >= amount.amount,
        "available >= op.amount",
        "Account does not have enough tokens for the first transfer, "
        f"has {words(ledger.chain, Asset(available, amount.kind))} needs {words(ledger.chain, amount)}",
    )
    is_new = key not in ledger.recurrent
    if is_new:
        most = f"Account can't have more than {MAX_RECURRENT} recurrent transfers"
        count = sum(name == sender.name for name, _, _ in ledger.recurrent)
        limit = "from_account.get_open_recurrent_transfers() < HIVE_MAX_OPEN_RECURRENT_TRANSFERS"
        require(count < MAX_RECURRENT, limit, most)
        require(amount.amount != 0, "op.amount.amount != 0", "Cannot create a recurrent transfer with 0 amount")
    elif amount.amount == 0:
        ledger.drop(ledger.recurrent, key)
        return
    times = value["executions"] - is_new  # a new one is due now, another after one recurrence
    require(
        times * value["recurrence"] <= MAX_RECURRENT_HOURS,
        "recurrent_transfer.get_final_trigger_date() <= _db.head_block_time() + fc::days( "
        "HIVE_MAX_RECURRENT_TRANSFER_END_DATE )",
        f"Cannot set a transfer that would last for longer than {MAX_RECURRENT_HOURS // 24} days",
    )
    ledger.set(ledger.recurrent, key, (amount, times))
    if is_new:
        ledger.adjust(sender.name, amount, -1)
        ledger.adjust(receiver.name, amount, 1)


def _pair(value: Value) -> int:
    """0 unless the extension says another."""
    return int(next((given.value["pair_id"] for given in value["extensions"] if given.value is not None), 0))
