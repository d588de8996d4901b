"""What distinguishes one Hive chain from another in its texts and bytes."""

from functools import lru_cache

import msgspec

HIVE, HBD, VESTS = 0, 1, 2
PRECISION = (3, 3, 6)
NAI = ("@@000000021", "@@000000013", "@@000000037")
#: Field names of an asset in the words of the protocol, independent of the chain's symbols.
ASSET_NAMES = ("HIVE", "HBD", "VESTS")


def _nai_bytes(asset_num: int) -> bytes:
    return asset_num.to_bytes(4, "little")


def _symbol_bytes(precision: int, symbol: str) -> bytes:
    return bytes([precision]) + symbol.encode().ljust(7, b"\0")


@lru_cache(maxsize=64)
def _legacy_symbols(symbols: tuple[str, str, str]) -> tuple[bytes, bytes, bytes]:
    liquid, dollar, vests = ({"HIVE": "STEEM", "HBD": "SBD"}.get(symbol, symbol) for symbol in symbols)
    return _symbol_bytes(3, liquid), _symbol_bytes(3, dollar), _symbol_bytes(6, vests)


#: The typed pack: asset numbers of Hive's asset_symbol.hpp (HIVE_ASSET_NUM_HIVE, _HBD, _VESTS).
TYPED_SYMBOLS = tuple(_nai_bytes(((99999999 + nai) << 5) | precision) for nai, precision in ((2, 3), (1, 3), (3, 6)))


class Chain(msgspec.Struct, frozen=True):
    """A chain's id (32 bytes), address prefix, and symbols of its three assets as people write them."""

    chain_id: bytes
    address_prefix: str = "STM"
    symbols: tuple[str, str, str] = ("HIVE", "HBD", "VESTS")

    @property
    def legacy_symbols(self) -> tuple[bytes, bytes, bytes]:
        """The 8 bytes of each asset in the legacy pack: the main chain still writes STEEM and SBD there."""
        return _legacy_symbols(self.symbols)

    def kind(self, symbol: str) -> int | None:
        """HIVE, HBD or VESTS of a symbol as text, None if the chain has no such asset."""
        if symbol in self.symbols:
            return self.symbols.index(symbol)
        # the main chain's names before 2020, still found in old transactions
        old = {"STEEM": HIVE, "SBD": HBD} if self.symbols[HIVE] == "HIVE" else {}
        return old.get(symbol)


MAINNET = Chain(bytes.fromhex("beeab0de" + "00" * 28))
