"""The JSON-RPC around a call, read and written as hived does (hived: plugins/json_rpc)."""

import json
import re
from typing import Any

from node.devnet.rpc import RpcError, bad_cast


def read(raw: bytes) -> Any:
    """JSON as fc reads it: of the escapes only \\t \\n \\r stand for another character, "\\u00e9" reads "u00e9"."""
    kept = re.sub(rb"\\(.)", lambda found: found[0] if found[1] in b'tnr\\"' else found[1], raw, flags=re.DOTALL)
    return json.loads(kept, strict=False)


def identity(call: Any) -> Any:
    """The id of a call. Raises RpcError."""
    if not isinstance(call, dict):
        raise bad_cast("a call is an object")
    if "id" in call and type(call["id"]) not in (int, str):
        raise RpcError(-32600, 'Only integer value or string is allowed for member "id"')
    return call.get("id")


def method_of(call: dict[str, Any]) -> tuple[str, Any]:
    """The method of a call and its parameters. Raises RpcError."""
    if call.get("jsonrpc") != "2.0":
        raise RpcError(-32600, 'jsonrpc value is not "2.0"')
    method = call.get("method")
    if not isinstance(method, str):
        raise RpcError(-32600, 'A member "method" does not exist')
    params = call.get("params", {})
    if method != "call":
        return method, params
    if "params" not in call:
        raise RpcError(-32001, 'A member "params" does not exist')
    if not isinstance(params, list) or len(params) not in (2, 3):  # the old form: ["api", "method", params]
        raise RpcError(
            -32002, 'Assert Exception:v.size() == 2 || v.size() == 3: params should be {"api", "method", "args"'
        )
    return f"{params[0]}.{params[1]}", params[2] if len(params) == 3 else {}


def failed(number: Any, error: RpcError) -> dict[str, Any]:
    """The answer to a call, by its id, that failed."""
    shown = {"code": error.code, "message": str(error), **({"data": error.data} if error.data else {})}
    return {"jsonrpc": "2.0", "error": shown, "id": number}
