"""`waggle init`: a folder that works at once, whole or not there; nothing is overwritten, no secret is shown."""

import http.server
import json
import stat
import threading

import pytest
from click.testing import CliRunner

from node.cli.init import init
from node.config import load_config
from node.config_text import MAIN_CHAIN, PUBLIC_APIS, config_text
from node.devnet.founding import guest_keys
from node.errors import ConfigError, KeyFileError
from node.genesis_text import to_toml
from node.options import problems
from node.signer.keyfile import open_sealed, read_info
from node.signer.keys import write_key
from processors.errors import GenesisError
from processors.genesis import genesis_hash, pop_digest
from processors.hive.keys import private_key_to_wif, public_key_to_text
from tests.node.cli.key_shell import OTHER, PASSWORD, secret_file, typing

pytestmark = pytest.mark.usefixtures("quick_scrypt", "no_terminal")

APIS = ("--api", "http://127.0.0.1:1", "north", "--api", "http://127.0.0.1:2", "south")
GUEST = guest_keys()
WIF = private_key_to_wif(GUEST.account_key._secret)


@pytest.fixture
def group(tmp_path, document):
    path = tmp_path / "group.toml"
    path.write_text(to_toml(document))
    return path


@pytest.fixture
def wif(tmp_path):
    path = tmp_path / "active.wif"
    write_key(path, GUEST.account_key)
    return path


@pytest.fixture
def everything(group, wif, password):
    """Options that leave nothing to ask."""
    return ("--account", "newcomer", "--genesis", group, *APIS, "--account-key", wif, "--password", password)


def run(*words, typed=None):
    found = CliRunner().invoke(init, [str(word) for word in words], input=typed)
    said = found.output + str(found.exception or "")
    assert WIF not in said and PASSWORD not in said and OTHER not in said
    return found


def failing(kind, *words, typed=None):
    """What is said by a command that fails as it should."""
    found = run(*words, typed=typed)
    assert isinstance(found.exception, kind), (found.output, found.exception)
    return str(found.exception)


def test_without_a_question_it_makes_a_folder_that_works(tmp_path, everything, group, document):
    found = run(tmp_path / "home", *everything, "--json")
    body = json.loads(found.stdout)
    home = tmp_path / "home"
    config = load_config(home / "config.toml")
    assert (config.account, config.genesis, config.data) == ("newcomer", home / "genesis.toml", home / "data")
    assert [(api.url, api.operator) for api in config.apis] == [(APIS[1], "north"), (APIS[4], "south")]
    assert config.password == f"file:{tmp_path / 'password'}"
    assert (home / "genesis.toml").read_bytes() == group.read_bytes()
    assert body["genesis_hash"] == genesis_hash(document).hex() and body["group"] == "the-group"
    assert body["ok"] is True and any("waggle join" in step for step in body["next"])
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]


def test_both_keys_are_encrypted_and_of_the_chain_of_the_genesis(tmp_path, everything):
    body = json.loads(run(tmp_path / "home", *everything, "--json").stdout)
    info, key = open_sealed(tmp_path / "home/account.key", PASSWORD)
    assert (info.role, info.account, key.public) == ("account", "newcomer", GUEST.account_key.public)
    info, key = open_sealed(tmp_path / "home/signing.key", PASSWORD)
    assert (info.role, info.account) == ("signing", "newcomer")
    assert body["signing_key"] == public_key_to_text(key.public, "TST") == info.public_key
    assert body["account_key"] == read_info(tmp_path / "home/account.key").public_key
    assert key.sign(pop_digest(bytes(32), "newcomer")), "it is a key"
    assert key.public != GUEST.signing_key.public, "made here, from nothing"


def test_nobody_else_can_look_at_it(tmp_path, everything):
    run(tmp_path / "home", *everything)
    home = tmp_path / "home"
    assert stat.S_IMODE(home.stat().st_mode) == stat.S_IMODE((home / "data").stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir() if path.is_file()}
    assert files == dict.fromkeys(("account.key", "config.toml", "genesis.toml", "signing.key"), 0o600)


def test_people_are_told_what_comes_next(tmp_path, everything):
    found = run(tmp_path / "home", *everything)
    for words in ("waggle doctor --config", "waggle run --config", "waggle join --config", "waggle keys backup"):
        assert words in found.stdout
    assert "shred -u" in found.stderr, "the WIF is still there"


def test_what_no_option_gives_is_asked(tmp_path, monkeypatch, group):
    left = typing(monkeypatch, WIF, PASSWORD, PASSWORD)
    typed = f"newcomer\n{group}\nhttp://127.0.0.1:1\nnorth\nhttp://127.0.0.1:2\nsouth\n\n"
    found = run(tmp_path / "home", typed=typed)
    assert found.exit_code == 0 and left == []
    config = load_config(tmp_path / "home/config.toml")
    assert config.account == "newcomer" and len(config.apis) == 2 and config.password == "prompt"
    assert open_sealed(tmp_path / "home/account.key", PASSWORD)


def test_an_empty_folder_is_used(tmp_path, everything):
    (tmp_path / "home").mkdir()
    assert run(tmp_path / "home", *everything).exit_code == 0
    assert load_config(tmp_path / "home/config.toml")


# -- nothing is overwritten


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_nothing_is_overwritten(tmp_path, everything, what):
    home, other = tmp_path / "home", tmp_path / "other"
    other.mkdir()
    if what == "folder":
        home.mkdir()
        (home / "mine").write_text("mine")
    elif what == "file":
        home.write_text("mine")
    else:
        home.symlink_to(other)
    assert "nothing is overwritten. Name a new folder" in failing(ConfigError, home, *everything)
    assert list(other.iterdir()) == []
    assert home.is_file() == (what == "file")


def test_a_failure_half_way_leaves_nothing(tmp_path, everything, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.cli.init.write_sealed", full)
    assert "No space left" in failing(ConfigError, tmp_path / "home", *everything)
    assert not (tmp_path / "home").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]


def test_a_folder_that_somebody_made_meanwhile_stays(tmp_path, everything, monkeypatch):
    import node.cli.init as module

    whole = module.load_config

    def slowly(path):
        (tmp_path / "home").mkdir()
        (tmp_path / "home/mine").write_text("mine")
        return whole(path)

    monkeypatch.setattr(module, "load_config", slowly)
    failing(ConfigError, tmp_path / "home", *everything)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["mine"]


# -- what is wrong is told before anything secret is asked for


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--account", "No Name"), "--account: 'No Name' is no Hive account name"),
        (("--genesis", "none.toml"), "none.toml: No such file"),
        (("--genesis", "http://127.0.0.1:1/none"), "name the file instead"),
        (("--listen", "8095"), "http.listen: '8095' is no HOST:PORT"),
        (("--api", "ftp://x", "west"), "api[2].url: 'ftp://x' is no http or https URL"),
        (("--api", "http://127.0.0.1:1", "west"), "is written twice"),
    ],
)
def test_a_wrong_option(tmp_path, everything, words, said):
    left = list(everything)
    if "--api" not in words:
        at = left.index(words[0]) if words[0] in left else len(left)
        left[at : at + 2] = []
    assert said in failing(ConfigError, tmp_path / "home", *left, *words)
    assert not (tmp_path / "home").exists()


def test_one_operator_is_too_few(tmp_path, group, wif, password):
    words = ("--account", "newcomer", "--genesis", group, "--account-key", wif, "--password", password)
    said = failing(ConfigError, tmp_path / "home", *words, "--api", "http://127.0.0.1:1", "north")
    assert "two servers of different operators" in said


def test_what_is_no_genesis(tmp_path, everything, group):
    group.write_text("hello =")
    assert "it is no genesis document" in failing(ConfigError, tmp_path / "home", *everything)
    group.write_text("hello = 1")
    failing(GenesisError, tmp_path / "home", *everything)
    group.write_bytes(b"#" * (2 << 20))
    assert "more than" in failing(ConfigError, tmp_path / "home", *everything)


@pytest.mark.parametrize("missing", ["--account", "--genesis", "--api"])
def test_without_a_terminal_it_names_the_option_that_is_missing(tmp_path, everything, missing):
    left = list(everything)
    while missing in left:
        at = left.index(missing)
        left[at : at + (3 if missing == "--api" else 2)] = []
    assert f"{missing}" in failing(ConfigError, tmp_path / "home", *left)


def test_without_a_terminal_there_is_no_place_to_type_a_key_or_a_password(tmp_path, everything, password):
    words = [
        word for word in everything if word not in ("--account-key", everything[everything.index("--account-key") + 1])
    ]
    assert "--account-key" in failing(KeyFileError, tmp_path / "home", *words)
    words = [word for word in everything if word not in ("--password", password)]
    assert "there is no terminal" in failing(KeyFileError, tmp_path / "home", *words)
    assert not (tmp_path / "home").exists()


def test_what_is_typed_as_a_key_and_is_none(tmp_path, monkeypatch, everything):
    typing(monkeypatch, "5J" + "x" * 49)
    at = everything.index("--account-key")
    words = (*everything[:at], *everything[at + 2 :])
    assert "that is no private key" in failing(KeyFileError, tmp_path / "home", *words)


def test_two_passwords_that_differ_and_one_that_is_short(tmp_path, monkeypatch, everything):
    at = everything.index("--password")
    words = (*everything[:at], *everything[at + 2 :])
    typing(monkeypatch, PASSWORD, OTHER)
    assert "the two passwords differ" in failing(KeyFileError, tmp_path / "home", *words)
    typing(monkeypatch, "short")
    assert "too short" in failing(KeyFileError, tmp_path / "home", *words)


def test_a_password_is_never_an_option(tmp_path, everything):
    at = everything.index("--password")
    said = failing(
        KeyFileError, tmp_path / "home", *everything[:at], "--password", "hunter2hunter2", *everything[at + 2 :]
    )
    assert "never written there" in said and "hunter2" not in said


def test_a_file_with_two_keys(tmp_path, everything, wif):
    secret_file(wif, WIF + "\n" + private_key_to_wif(GUEST.signing_key._secret))
    assert "holds 2 keys" in failing(KeyFileError, tmp_path / "home", *everything)


# -- a genesis from elsewhere


@pytest.fixture
def web(group):
    """An address that gives the document, or as many bytes as one likes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if self.path == "/none" else 200)
            self.end_headers()
            if self.path == "/endless":
                for _ in range(64):
                    self.wfile.write(bytes(1 << 16))
            else:
                self.wfile.write(group.read_bytes())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_genesis_by_url(tmp_path, everything, group, web):
    words = [web + "/genesis.toml" if word is group else word for word in everything]
    assert run(tmp_path / "home", *words).exit_code == 0
    assert (tmp_path / "home/genesis.toml").read_bytes() == group.read_bytes()


@pytest.mark.parametrize(("path", "said"), [("/none", "answered 404"), ("/endless", "more than 1048576 bytes")])
def test_a_url_that_gives_something_else(tmp_path, everything, group, web, path, said):
    words = [web + path if word is group else word for word in everything]
    assert said in failing(ConfigError, tmp_path / "home", *words)


# -- the text


def test_on_the_main_chain_it_begins_with_known_public_servers():
    assert MAIN_CHAIN.hex().startswith("beeab0de") and len(MAIN_CHAIN) == 32
    import tomllib

    text = config_text("alice", PUBLIC_APIS, password="prompt", listen="")
    assert problems(tomllib.loads(text)) == []
    assert "nobody promises" in text
    assert text.startswith("# The configuration of this node. config.example.toml explains every key")
    assert len({api.operator for api in PUBLIC_APIS}) == len(PUBLIC_APIS) >= 3
    assert all(api.url.startswith("https://") for api in PUBLIC_APIS)


def test_whatever_an_operator_is_called_the_text_is_toml():
    import tomllib

    from node.config import ApiConfig

    odd = [ApiConfig("https://a", 'a "b" \\ \n #'), ApiConfig("https://b", "ü 🐝")]
    found = tomllib.loads(config_text("alice", odd, password="prompt", listen=""))
    assert [api["operator"] for api in found["api"]] == [odd[0].operator, odd[1].operator]
