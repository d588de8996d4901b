"""The catalogue of events: every line that a node can log, its level, its fields, what it means, and what to do.

docs/logs.md is made of it (node/events_page.py); node/log.py takes the levels from here.
"""

from node.event import Event
from node.events_beside import BESIDE

_SERVER = {"server": "URL of the API server", "error": "what went wrong"}
_WHY = {
    "op": "id of the group transaction",
    "why": "the reason, a code",
    "detail": "the same for people",
}
_READ_POLICY = "read `detail`; `waggle status` shows the reason and what helps"

_LIFE = {
    "start": Event(
        "info",
        {
            "account": "the member",
            "group": "the group account",
            "genesis": "genesis hash",
            "height": "block that the state applied last, -1 = none",
            "keys": "public halves of the signing keys",
        },
        "The node begins; its store is open.",
    ),
    "start_try": Event(
        "warning",
        {
            "what": "what is not ready yet",
            "try": "number of this try",
            "of": "tries before the node gives up (node.start_tries)",
            "again_in": "seconds until the next",
            "error": "why",
        },
        "Something that the node needs at its start is not ready; it is tried again.",
        "nothing if it passes; else start what `what` names",
    ),
    "plain_key": Event(
        "warning",
        {"path": "file", "remedy": "what to run"},
        "A key lies in its file in the clear.",
        "run `waggle keys import NEW --from PATH`, name the new file in [keys], destroy the old one",
    ),
    "unguarded": Event(
        "warning",
        {"what": "what could not be done, and how it could"},
        "The memory that holds the keys is not guarded in every way.",
        "follow `what`",
    ),
    "live": Event(
        "info",
        {"height": "block", "members_keys_hold_it": "whether the group account is held by members' keys alone"},
        "Caught up, and the group account's authorities are those of the state: from now on the node acts.",
    ),
    "stop": Event("info", {"height": "block", "outcome": "clean"}, "The node was asked to end, and did."),
    "stopped": Event(
        "warning",
        {"error": "why"},
        "The node ended by itself because it must not go on.",
        "`error` says what to do; nothing is torn, and it can be started again",
    ),
    "founder_only": Event(
        "warning",
        {"runners": "in the genesis", "min_signers": "needed"},
        "The group has too few runners: the account stays on the founder's key until there are enough.",
        "let more members join",
    ),
    "not_member": Event(
        "warning",
        {"account": "the account of this node", "remedy": "what to run"},
        "This account is not registered: the node follows the group and reports nothing.",
        "run `waggle join`",
    ),
    "key_missing": Event(
        "warning",
        {"registered": "the signing key that the group knows", "remedy": "what to do"},
        "The registered signing key is not held here: the node can neither report nor sign.",
        "put that key into keys.signing, or register another with `waggle join`",
    ),
}
_CHAIN = {
    "block": Event(
        "debug", {"height": "block", "id": "its id", "seconds": "to apply it"}, "A block was proven and applied."
    ),
    "round": Event(
        "info",
        {
            "height": "block that ended a round",
            "root": "state root after it",
            "halted": "round since which the node is halted, or none",
        },
        "A round has ended.",
    ),
    "upgrade_needed": Event(
        "warning",
        {"height": "at which", "days": "until then", "what": "the rule", "remedy": "what to do"},
        "A rule comes into force that this version does not know: the node stops before that block.",
        "install a newer version before then",
    ),
    "diverged": Event(
        "warning",
        {"round": "height", "own_root": "this node's root"},
        "The group agreed on another root than this node's: it signs nothing any more.",
        "run `waggle diff PEER`, then follow docs/operating.md",
    ),
    "rewound": Event(
        "warning",
        {"height": "to which", "why": "what did not fit"},
        "The newest blocks stood on a fork that died; the state was taken back and goes on from there.",
        "look which server called them irreversible, and whether it should stay in [[api]]",
    ),
    "alarm": Event(
        "warning",
        {
            "height": "block",
            "what": "the operation, or rotation_without_owner",
            "account?": "who sent it",
            "op?": "id of the group transaction",
        },
        "A step towards taking the group account back, or a rotation that must leave the owner authority as it is.",
        "tell every member now; protocol section 12 says what it can lead to",
    ),
    "present_unconfirmed": Event(
        "warning",
        {"height": "block"},
        "The journal of signatures begins, and no second operator says that this block is the chain's present.",
        "nothing if it passes within a minute; else run `waggle doctor` and name another server in [[api]]",
    ),
    "authority_differs": Event(
        "warning",
        {"role": "owner, active or posting", "height": "block", "try": "how often seen"},
        "The chain's authority is not the state's: a change on its way, or a wrong genesis or server.",
        "nothing if it passes; else compare the genesis hash with the other members and check the API servers",
    ),
}
_FEED = {
    "api_error": Event(
        "warning",
        {"server?": _SERVER["server"], "error": _SERVER["error"], "try?": "failures running"},
        "An API server did not answer, or not as it should; others are asked.",
        "if it lasts, run `waggle doctor` and name another server in [[api]]",
    ),
    "feed_stalled": Event(
        "warning",
        {"height": "block", "server": "URL", "seconds": "since the last new block"},
        "No server names a new irreversible block.",
        "see whether Hive itself stands still; if not, check the API servers with `waggle doctor`",
    ),
    "server_banned": Event(
        "warning",
        {
            "server": "URL",
            "operator": "who runs it",
            "why": "what was false",
            "seconds": "of the ban",
            "kept_as": "name of the evidence in the data folder",
            "evidence": "its sha256 and how it begins",
        },
        "A server gave a block that is shown to be false by what it holds. It is asked nothing for a while.",
        "take it out of [[api]] and show its operator the evidence",
    ),
    "servers_differ": Event(
        "warning",
        {"server": "URL", "height": "block", "own": "id of our block", "theirs": "id of its block"},
        "A second operator has another block than this node: nothing that stands on it is signed.",
        "find out which one follows another chain; name a third server in [[api]]",
    ),
    "unproven_block": Event(
        "warning",
        {"height": "block", "operators": "who gave it alike", "why": "what cannot be serialised"},
        "A block holds what this version cannot serialise; two operators gave it alike, so it was taken.",
        "install a newer version: until then two operators are believed for such blocks",
    ),
    "block_refused": Event(
        "warning",
        {"height": "block", "operators": "who gave it alike", "why": "what is wrong with it"},
        "Two operators give the same block, and this version cannot prove it: it is not taken, and nobody is banned.",
        "install a newer version; if there is none, compare the kept block with other members and report it",
    ),
}
_ACTING = {
    "sent": Event(
        "debug",
        {"content": "report:HEIGHT, sign:OP:KEY or broadcast:OP"},
        "A server took a transaction of this node's.",
    ),
    "refused": Event(
        "warning",
        {"content": "as in sent", "error": "server and its words"},
        "No server took a transaction; it is tried again.",
        "if it lasts, read `error`: most often resource credits, or a wrong account key (`waggle doctor`)",
    ),
    "dry_run": Event(
        "info",
        {"content": "as in sent"},
        "With policy.dry_run this would have been sent now, and was not.",
    ),
    "held": Event(
        "info",
        {"content": "as in sent", "authority_on_its_way": "roles that change", "server": "URL"},
        "A group transaction waits: a change of the authority is on its way and would have it refused.",
    ),
    "hold": Event(
        "warning", _WHY, "A group transaction is not signed yet; it is asked again at every block.", _READ_POLICY
    ),
    "refuse": Event(
        "warning", _WHY, "A group transaction is refused by this node's policy, and the group is told.", _READ_POLICY
    ),
    "abstained": Event(
        "warning",
        _WHY,
        "The second implementation has no opinion on a transaction that was signed.",
        "none, if `detail` names a known gap of it",
    ),
    "signed_elsewhere": Event(
        "warning",
        {"op": "id of the group transaction", "remedy": "what to do"},
        "A signature by this node's key stands on chain that its journal does not hold.",
        "stop the other machine; if it is not yours, register a new key with `waggle join` at once",
    ),
}
_HTTP = {
    "http": Event(
        "debug",
        {
            "route": "what was asked",
            "status": "HTTP status",
            "seconds": "to answer",
            "denied?": "missing, wrong or network",
        },
        "A request to this node's own API was answered.",
    ),
    "http_error": Event(
        "warning",
        {"route": "what was asked", "error": "the exception", "at": "file and line"},
        "A request failed inside this node, which goes on.",
        "report it with this line",
    ),
    "auth_failed": Event(
        "warning",
        {"peer": "address", "path": "what was asked", "kind": "missing, wrong or network", "times": "since last told"},
        "Somebody asked for what he has no right to.",
        "if it is you, check the token; if not, close the port or narrow http.allow",
    ),
}

#: The groups of docs/logs.md.
GROUPS: dict[str, dict[str, Event]] = {
    "The node's life": _LIFE,
    "The chain and the state": _CHAIN,
    "The API servers": _FEED,
    "What the node does": _ACTING,
    "The node's own HTTP": _HTTP,
    **BESIDE,
}
EVENTS: dict[str, Event] = {name: event for group in GROUPS.values() for name, event in group.items()}


def level_of(name: str) -> str:
    """The level of an event; one that is in no catalogue is information."""
    event = EVENTS.get(name)
    return event.level if event is not None else "info"


def fields_of(event: Event) -> set[str]:
    """The names of an event's fields."""
    return {name.rstrip("?") for name in event.fields}
