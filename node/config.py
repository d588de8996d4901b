"""The configuration of a node: TOML, everything that is wrong reported at once (config.example.toml explains it)."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from node.errors import ConfigError
from node.options import problems, value_of
from node.signer.policy import Policy


class ApiConfig(msgspec.Struct, frozen=True):
    """A server of Hive's API and who runs it."""

    url: str
    operator: str


class SignerConfig(msgspec.Struct, frozen=True):
    """Where a remote signer listens (``url`` empty: the node signs itself), and the files of mutual TLS."""

    url: str = ""
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None


class FeedConfig(msgspec.Struct, frozen=True):
    """How blocks are fetched: ``buffer_mb`` bounds what is fetched ahead; ``archive`` None keeps none.

    The past comes from ``block_log`` (with hived's ``dictionaries``) and ``haf`` (a DSN, believed by ``trust``).
    """

    witness: bool = False
    archive: Path | None = None
    buffer_mb: int = 64
    prove_ahead: bool = True
    block_log: Path | None = None
    dictionaries: Path | None = None
    haf: str = ""
    trust: str = ""


class HttpConfig(msgspec.Struct, frozen=True):
    """The node's own HTTP: ``listen`` is HOST:PORT, empty for none; ``allow`` networks from which it may be asked."""

    listen: str = ""
    tokens_file: Path | None = None
    allow: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


class SnapshotConfig(msgspec.Struct, frozen=True):
    """A snapshot every so many rounds (0 = never), so many kept."""

    every: int = 12
    keep: int = 3


class Config(msgspec.Struct, frozen=True):
    """A checked configuration; paths are absolute or relative to the file."""

    path: Path
    account: str
    genesis: Path
    data: Path
    account_key: Path
    signing_keys: tuple[Path, ...]
    apis: tuple[ApiConfig, ...]
    policy: Policy
    password: str = "prompt"
    poll_seconds: float = 1.0
    start_tries: int = 10
    signer: SignerConfig = SignerConfig()
    feed: FeedConfig = FeedConfig()
    http: HttpConfig = HttpConfig()
    snapshots: SnapshotConfig = SnapshotConfig()
    peers: tuple[str, ...] = ()
    log_format: str = "console"
    log_level: str = "info"


def load_config(path: Path) -> Config:
    """Read and check a configuration. Raises ConfigError with all problems."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run `waggle init`, or copy config.example.toml") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    wrong = problems(document)
    if wrong:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {line}" for line in wrong))
    return _build(document, path)


def _build(document: dict[str, Any], path: Path) -> Config:
    base = path.parent

    def get(section: str, key: str) -> Any:
        return value_of(document, section, key)

    def file(section: str, key: str) -> Path | None:
        name = get(section, key)
        return base / name if name else None

    signing = get("keys", "signing")
    return Config(
        path=path,
        account=get("node", "account"),
        genesis=base / get("node", "genesis"),
        data=base / get("node", "data"),
        account_key=base / get("keys", "account"),
        signing_keys=tuple(base / name for name in ([signing] if isinstance(signing, str) else signing)),
        apis=tuple(ApiConfig(server["url"], server["operator"]) for server in document["api"]),
        policy=_policy(document),
        password=_password(get("keys", "password"), base),
        poll_seconds=float(get("node", "poll_seconds")),
        start_tries=get("node", "start_tries"),
        signer=SignerConfig(
            _at(get("signer", "url"), base), *(file("signer", key) for key in ("certificate", "key", "authority"))
        ),
        feed=FeedConfig(
            witness=get("feed", "witness"),
            archive=file("feed", "archive"),
            buffer_mb=get("feed", "buffer_mb"),
            prove_ahead=get("feed", "prove_ahead"),
            block_log=file("feed", "block_log"),
            dictionaries=file("feed", "dictionaries"),
            haf=get("feed", "haf"),
            trust=get("feed", "trust"),
        ),
        http=HttpConfig(
            get("http", "listen"),
            file("http", "tokens_file"),
            tuple(get("http", "allow")),
            file("http", "certificate"),
            file("http", "key"),
        ),
        snapshots=SnapshotConfig(get("snapshots", "every"), get("snapshots", "keep")),
        peers=tuple(url.rstrip("/") for url in get("sync", "peers")),
        log_format=get("log", "format"),
        log_level=get("log", "level"),
    )


def _policy(document: dict[str, Any]) -> Policy:
    return msgspec.convert(document.get("policy", {}), Policy)


def _password(source: str, base: Path) -> str:
    """Where the password comes from; a file's path is relative to the configuration."""
    kind, _, name = source.partition(":")
    return f"file:{base / name}" if kind == "file" else source


def _at(url: str, base: Path) -> str:
    """A signer's URL; the path of a socket is relative to the configuration."""
    kind, _, name = url.partition(":")
    return f"unix:{base / name}" if kind == "unix" else url
