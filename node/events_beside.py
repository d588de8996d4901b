"""Events of what runs beside the state machine: snapshots, the archive, state sync, repair, the remote signer."""

from node.event import Event

_KEEPING: dict[str, Event] = {
    "snapshot": Event(
        "info",
        {"height": "block", "kept": "heights that are kept", "removed": "heights that made room"},
        "A snapshot of the state was written.",
    ),
    "snapshot_failed": Event(
        "warning",
        {"height": "block", "error": "why"},
        "A snapshot could not be written, or an own one not be used; the node goes on without it.",
        "make room on the disk, or set snapshots.every = 0",
    ),
    "snapshot_set_aside": Event(
        "warning",
        {"height": "block", "why": "what may be wrong with it", "kept_as": "where it lies now"},
        "An own snapshot may be of a fork that died, or of a state that went wrong: no state begins with it any more.",
        "keep it while the reason is looked into, then delete it; of those set aside the newest 4 stay",
    ),
    "archive_replay": Event(
        "info",
        {"height": "block", "last?": "newest block of the archive", "ends?": "why it goes no further"},
        "The state is built from the archive of blocks, each proven anew.",
    ),
    "past_replay": Event(
        "info",
        {
            "source": "block_log or HAF database",
            "height": "block",
            "last": "its newest block",
            "caveat": "what of it cannot be proven; empty: nothing",
        },
        "The state is built from a source of one's own before servers are asked.",
    ),
    "past_failed": Event(
        "warning",
        {"height": "block", "error": "why", "remedy": "what comes next"},
        "A block_log or HAF database cannot be read, or holds what does not follow; the node goes on without it.",
        "mend what `error` names, or leave feed.block_log, feed.haf out",
    ),
    "archive_fill": Event(
        "info",
        {"from": "newest block of the archive", "to": "block of the state"},
        "Blocks that the archive lacks are fetched from the servers.",
    ),
    "archive_cut": Event(
        "warning",
        {"folder": "of the archive", "bytes": "that were cut off"},
        "The end of the archive was torn by a crash, and was cut off; the blocks are fetched again.",
        "none",
    ),
    "archive_taken_back": Event(
        "warning",
        {"folder": "of the archive", "height": "its newest block now"},
        "The state was taken back, and the archive with it; the right blocks are added again.",
        "none",
    ),
    "archive_stopped": Event(
        "warning",
        {"folder": "of the archive", "error": "why", "remedy": "what to do"},
        "The archive cannot be read or written: the node goes on without it.",
        "follow `remedy`; the archive can always be made anew",
    ),
}
_STARTING: dict[str, Event] = {
    "root_verified": Event(
        "info",
        {"height": "block"},
        "After an end that was not clean the state was held against its root, and is whole.",
    ),
    "store_damaged": Event(
        "warning",
        {"error": "what was found", "kept_as": "where it lies now"},
        "The store is damaged and was set aside; the node makes another from a snapshot, or by replaying.",
        "check the disk (SMART, cables, memory); remove what was set aside once the node is well",
    ),
    "restored": Event("info", {"height": "block"}, "The store was made from an own snapshot of this block."),
    "sync": Event(
        "info", {"height": "block", "chunk": "number", "of": "chunks"}, "A chunk of a peer's snapshot was taken."
    ),
    "synced": Event(
        "info",
        {
            "height": "block",
            "root": "state root",
            "weight": "of the signers that reported it on chain",
            "of": "weight of all signers",
            "reported_by": "accounts",
        },
        "The state was made from a peer's snapshot whose root was reported on chain.",
    ),
    "sync_refused": Event(
        "warning",
        {"height": "block", "why": "what is wrong"},
        "A snapshot that peers offer cannot be believed; the next one is tried.",
        "nothing if another is taken; else name more peers in sync.peers",
    ),
    "sync_failed": Event(
        "warning",
        {"error": "why", "remedy": "what happens now"},
        "No snapshot of a peer can be had: the node replays the blocks instead.",
        "wait, or name peers in sync.peers and begin again with an empty data folder (keep the journal)",
    ),
    "peer_error": Event(
        "warning",
        {"peer": "its URL", "error": "what went wrong"},
        "Another member's node did not answer, or gave what does not fit.",
        "nothing while others answer; `waggle doctor` asks all of them",
    ),
}
_HEALING: dict[str, Event] = {
    "difference": Event(
        "warning",
        {
            "peer?": "who was compared",
            "kind?": "what differs, or unknown",
            "height?": "first block that differs",
            "table?": "first table",
            "key?": "first key",
            "words?": "the same for people",
        },
        "The first block, table and key in which this node and its peers differ.",
        "send this line to the other members, and follow docs/operating.md",
    ),
    "healed": Event(
        "warning",
        {
            "round": "height",
            "from": "last equal root",
            "to": "block",
            "other_blocks_from?": "first block that was another",
        },
        "The blocks since the last equal root were fetched from other servers and replayed; the node agrees again.",
        "look which server gave the wrong blocks, and whether it should stay in [[api]]",
    ),
    "still_diverged": Event(
        "warning",
        {
            "round": "height",
            "from?": "last equal root",
            "to?": "block",
            "other_blocks_from?": "first block that was another",
            "why": "why it could not be healed",
            "remedy": "what to do",
        },
        "Replaying did not help: the node stays halted and readable, and signs nothing.",
        "follow `remedy` and docs/operating.md; tell the other members",
    ),
}
_SIGNER: dict[str, Event] = {
    "signer_listens": Event(
        "info",
        {"listen": "address", "height": "block", "vouched": "height whose root it believes"},
        "The remote signer waits for its node.",
    ),
    "signer_client": Event(
        "info",
        {"peer": "who", "outcome": "connected, refused or dropped", "why": "the reason, if there is one"},
        "A node came to the signer, was refused, or left.",
    ),
    "vouched": Event(
        "info",
        {"height": "block", "root": "state root", "alone": "whether its own report alone carries it"},
        "The signer believes another root, since enough members reported it on chain.",
    ),
    "signer_catches_up": Event(
        "info", {"height": "block", "to": "height of the node"}, "The signer is given the blocks that it lacks."
    ),
    "signer_error": Event(
        "warning",
        {"error": "what went wrong"},
        "The remote signer does not answer, or not as it should; nothing was signed, and it is asked again.",
        "start `waggle signer` and look at its log",
    ),
}

BESIDE: dict[str, dict[str, Event]] = {
    "Snapshots and the archive": _KEEPING,
    "The beginning, and state sync": _STARTING,
    "Divergence and repair": _HEALING,
    "The remote signer": _SIGNER,
}
