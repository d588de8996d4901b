"""Rejection codes: part of the protocol (docs/codes.md), in the order in which checks run."""

CODES: dict[str, str] = {
    "too_long": "the json has more than 8,192 bytes",
    "bad_json": "the json is not strict JSON (section 4)",
    "bad_keys": "a key is missing, or there is one too many",
    "bad_type": "a value has another type than the table says",
    "out_of_bounds": "a value is outside its bounds, or not of its form",
    "not_member": "the account is not registered",
    "wrong_height": "the report is not for the round that can be reported now",
    "reported_already": "the account has reported in this round",
    "wrong_header": "the header is not that of the block asked for: the sender follows another chain",
    "bad_signature": "the signature is not by a key that counts here",
    "bad_pop": "the proof of possession is not by the signing key, for this account and genesis",
    "key_taken": "another member has, or once proved, the key",
    "too_many_members": "max_members are registered",
    "already_leaving": "the member is leaving already",
    "unknown_op": "no such group transaction is out",
    "not_signer": "no key of the member is a signer that this group transaction needs and that has not signed",
    "signed_already": "the key has signed this group transaction",
    "refused_already": "the member has refused this group transaction",
    "not_group": "only the group account can send this",
    "wrong_transaction": "the carrying transaction is not the recorded one",
}
