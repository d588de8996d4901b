"""hived's refusals, with the names, codes and words of its JSON-RPC answers."""

_CODES = {
    "assert_exception": (10, "Assert Exception"),
    "St12out_of_range": (13, "unknown key"),
    "tx_missing_active_auth": (3010000, "missing required active authority"),
    "tx_missing_owner_auth": (3020000, "missing required owner authority"),
    "tx_missing_posting_auth": (3030000, "missing required posting authority"),
    "tx_missing_other_auth": (3040000, "missing required other authority"),
    "tx_irrelevant_sig": (3050000, "irrelevant signature included"),
    "tx_duplicate_sig": (3060000, "duplicate signature included"),
    "tx_missing_witness_auth": (3070000, "missing required witness signature"),
    "tx_combined_auths_with_posting": (3080000, "active/owner authority combined with posting authority"),
    "transaction_expiration_exception": (4030100, "transaction expiration exception"),
    "transaction_tapos_exception": (4030200, "transaction tapos exception"),
    "not_enough_rc_exception": (4100100, "payer has not enough RC mana for transaction"),
}
#: After these hived tries the legacy pack (transaction_auth_exception).
AUTHORITY_NAMES = frozenset(
    {"tx_missing_active_auth", "tx_missing_owner_auth", "tx_missing_posting_auth", "tx_missing_other_auth"}
)
_SERVER_ERROR, _ERROR_DURING_CALL = -32000, -32003


class HivedRefusalError(Exception):
    """A transaction that hived refuses; ``name`` as in error.data.name, ``str()`` as its message."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.name = name
        self.code, self.title = _CODES[name]
        self.message = f"{self.title}:{detail}" if detail else self.title
        super().__init__(self.message)

    @property
    def rpc_code(self) -> int:
        """error.code of the JSON-RPC answer: what derives from fc's assert_exception fails "during the call"."""
        return _SERVER_ERROR if self.name == "St12out_of_range" else _ERROR_DURING_CALL

    def data(self) -> dict[str, object]:
        """error.data of the JSON-RPC answer."""
        return {"code": self.code, "name": self.name, "message": self.title, "stack": [], "extension": {}}


def require(condition: bool, expression: str, words: str = "") -> None:
    """FC_ASSERT: refuse with the failed expression and its words."""
    if not condition:
        raise HivedRefusalError("assert_exception", f"{expression}: {words}")
