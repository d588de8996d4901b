"""The text of a genesis document: a template for people, and TOML of a document that a program made."""

import json
from typing import Any

from processors.params import BOUNDS, Params

_TEMPLATE = """\
# The genesis of a Waggle group (docs/protocol.md, section 2). Every member's node must have the same document:
# compare `waggle genesis hash`.

chain_id = "{chain_id}"
address_prefix = "{prefix}"
symbols = {symbols}
prefix = "waggle_"            # of the custom_json ids
start_block = {start_block}   # the state begins after this block
founder_keys = []             # keys besides the runners' that the founder's signer holds (another owner key, say)

[group]
account = "{group}"
# The authorities as they are on chain before start_block. Runners' keys must weigh more than half of active.
owner = {{ weight_threshold = 1, account_auths = [], key_auths = [["{key}", 1]] }}
active = {{ weight_threshold = 1, account_auths = [], key_auths = [["{key}", 1]] }}
posting = {{ weight_threshold = 1, account_auths = [], key_auths = [["{key}", 1]] }}

[[runner]]
account = "{founder}"
signing_key = "{key}"
pop = ""                      # waggle keys pop signing.wif --genesis FILE --account {founder}
domain = ""                   # https URL of the node, may stay empty

[[collateral]]                # locked tokens, smallest units; every runner needs min_collateral
account = "{founder}"
amount = 1000

# [[balance]]                 # liquid tokens
# account = "{founder}"
# amount = 1000

# [[standing_payout]]         # paid again and again from the group account
# to = "somebody"
# amount = 1000               # 1.000
# asset = "HIVE"              # or "HBD"
# every = 28800               # blocks
# memo = ""

[parameters]                  # what is left out has its default
{parameters}
"""


def template(group: str, start_block: int, founder: str, key: str, *, testnet: bool) -> str:
    """A document with every key explained."""
    defaults = Params()
    width = max(map(len, BOUNDS))
    parameters = "\n".join(
        f"# {name:<{width}} = {json.dumps(getattr(defaults, name)):<8} # {low}..{high} {unit}"
        for name, (low, high, unit) in BOUNDS.items()
    )
    return _TEMPLATE.format(
        chain_id="FILL IN" if testnet else "beeab0de" + "00" * 28,
        prefix="TST" if testnet else "STM",
        symbols=json.dumps(["TESTS", "TBD", "VESTS"] if testnet else ["HIVE", "HBD", "VESTS"]),
        start_block=start_block,
        group=group,
        founder=founder,
        key=key,
        parameters=parameters,
    )


def to_toml(document: dict[str, Any]) -> str:
    """TOML of a genesis document: scalars, then tables, then lists of tables."""
    lines = [f"{key} = {_value(value)}" for key, value in document.items() if not _is_table(value)]
    for key, value in document.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_value(item)}" for name, item in value.items())]
        elif _is_table(value):
            for entry in value:
                lines += ["", f"[[{key}]]", *(f"{name} = {_value(item)}" for name, item in entry.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=True)
