"""The files of deploy/ agree with the program, with each other, and with the tools that read them, where those are."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from node.api import auth, health, v1
from node.api.limits import Limits
from node.config_text import PUBLIC_APIS, config_text
from node.options import OPTIONS
from tests.test_operating import MANUAL, parse

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
HOME = "/var/lib/waggle"
CONFIG = tomllib.loads(config_text("alice", PUBLIC_APIS, password="credential:waggle", listen="127.0.0.1:8095"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
CONTAINERFILE = (DEPLOY / "container" / "Containerfile").read_text()
COMPOSE = YAML(typ="safe").load((DEPLOY / "container" / "compose.yml").read_text())
OBJECTS = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes" / "waggle.yml").read_text()))
NGINX = (DEPLOY / "proxy" / "nginx.conf").read_text()
FIREWALL = (DEPLOY / "firewall" / "nftables.conf").read_text()


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **more)


def needs(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not here")
    return found


# -- systemd


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting of a unit with its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_reads_the_unit(unit, tmp_path):
    tool = needs("systemd-analyze")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/waggle/bin/waggle", sys.executable))  # must be there to be run
    found = run(tool, "verify", "--recursive-errors=no", str(copy))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_the_unit_hardened(unit):
    tool = needs("systemd-analyze")
    found = run(tool, "security", "--offline=true", "--no-pager", "--threshold=20", str(unit))  # tenths
    assert found.returncode == 0, found.stdout.splitlines()[-1:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_there_is_and_guards_its_keys(unit):
    found = settings(unit)
    [start] = found["ExecStart"]
    program, *words = start.split()
    assert program == "/opt/waggle/bin/waggle"
    parse(words)
    assert found["LimitCORE"] == ["0"] and found["LimitMEMLOCK"] == ["infinity"]
    assert found["User"] == ["waggle"] and found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""] and found["MemoryDenyWriteExecute"] == ["yes"]
    assert found["Restart"] == ["on-failure"] and found["StartLimitIntervalSec"] == ["0"]
    # The guard of memory asks for limits and locks pages: neither group of calls may be denied.
    denied = {word for line in found["SystemCallFilter"] if line.startswith("~") for word in line[1:].split()}
    assert not denied & {"@resources", "@memlock", "@system-service"}


def test_the_node_may_write_where_init_puts_its_data_and_nowhere_else():
    found = settings(DEPLOY / "systemd" / "waggle.service")
    [start] = found["ExecStart"]
    folder = Path(start.split()[-1]).parent
    assert found["ReadWritePaths"] == [str(folder / CONFIG["node"]["data"])]
    assert found["ReadOnlyPaths"] == [HOME] and folder == Path(HOME, "node")
    assert found["ProtectSystem"] == ["strict"]


def test_node_and_signer_do_not_see_each_others_files():
    node, signer = (settings(DEPLOY / "systemd" / f"{name}.service") for name in ("waggle", "waggle-signer"))
    assert f"-{HOME}/signer" in node["InaccessiblePaths"][0].split()
    assert f"-{HOME}/node" in signer["InaccessiblePaths"][0].split()
    assert signer["PrivateNetwork"] == ["yes"]
    [runtime] = signer["RuntimeDirectory"]
    assert f'url = "unix:/run/{runtime}/signer.sock"' in MANUAL
    assert f'listen = "unix:/run/{runtime}/signer.sock"' in MANUAL


def test_the_signers_own_user_shares_nothing_with_the_node_but_the_socket():
    unit, own = (settings(DEPLOY / "systemd" / name) for name in ("waggle-signer.service", "signer-user.conf"))
    assert own["User"] != unit["User"] and own["Group"] == unit["Group"]
    assert own["PrivateUsers"] == ["no"], "else it would see the node's user as nobody"
    assert unit["UMask"] == ["0077"] and "UMask" not in own
    folder = Path(own["WorkingDirectory"][-1])
    assert not folder.is_relative_to(HOME) and own["StateDirectory"][-1] == folder.name
    parse(own["ExecStart"][-1].split()[1:])
    assert own["ReadWritePaths"][-1] == f"{folder}/data"
    assert f"-{HOME}" in own["InaccessiblePaths"][-1].split()
    for name in ("ExecStart", "StateDirectory", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths"):
        assert own[name][0] == "", "a list is emptied before it is filled"


def test_the_password_has_one_name_everywhere():
    for unit in UNITS:
        assert settings(unit)["LoadCredential"] == ["waggle:/etc/credstore/waggle"]
    assert "--password credential:waggle" in MANUAL and "/etc/credstore/waggle" in MANUAL
    assert list(COMPOSE["secrets"]) == ["waggle"] == COMPOSE["services"]["node"]["secrets"]
    assert "CREDENTIALS_DIRECTORY=/run/secrets" in CONTAINERFILE
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert mounts["/run/secrets/waggle"]["subPath"] == "waggle"  # without it, it would be a link: refused


# -- the script


def test_the_script_is_a_script_of_the_shell():
    script = DEPLOY / "systemd" / "waggle.sh"
    assert run("sh", "-n", str(script)).returncode == 0
    assert os.access(script, os.X_OK)


def test_the_script_wants_root(tmp_path):
    fake = tmp_path / "id"
    fake.write_text("#!/bin/sh\necho 1000\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    found = run("sh", str(DEPLOY / "systemd" / "waggle.sh"), "status", env={"PATH": path})
    assert found.returncode == 2 and "sudo waggle status" in found.stderr


# -- containers


def statefulset() -> dict[str, Any]:
    [found] = [one for one in OBJECTS if one["kind"] == "StatefulSet"]
    return found


def container() -> dict[str, Any]:
    [found] = statefulset()["spec"]["template"]["spec"]["containers"]
    return found


def test_all_run_the_same_command():
    [entry] = re.findall(r"^ENTRYPOINT (.+)$", CONTAINERFILE, re.MULTILINE)
    [command] = re.findall(r"^CMD (.+)$", CONTAINERFILE, re.MULTILINE)
    words = YAML(typ="safe").load(command)
    assert YAML(typ="safe").load(entry) == ["/opt/waggle/bin/waggle"]
    parse(words)
    assert words == COMPOSE["services"]["node"]["command"] == container()["args"]


def test_what_is_copied_into_the_image_is_there():
    copied = re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE)
    names = [name for line in copied for name in line.split()[:-1]]
    assert {"state", "processors", "node", "pyproject.toml"} <= set(names)
    assert all((ROOT / name).exists() for name in names)


def test_all_have_the_port_of_the_default():
    [port] = re.findall(r"[0-9]+$", OPTIONS["http"]["listen"].default or "127.0.0.1:8095")
    assert CONFIG["http"]["listen"].endswith(f":{port}")
    assert f"EXPOSE {port}\n" in CONTAINERFILE
    [published] = COMPOSE["services"]["node"]["ports"]
    assert published == f"127.0.0.1:{port}:{port}"  # to the host alone
    assert str(port) in str(COMPOSE["services"]["node"]["healthcheck"]["test"])
    assert container()["ports"] == [{"name": "http", "containerPort": int(port)}]
    [service] = [one for one in OBJECTS if one["kind"] == "Service"]
    assert service["spec"]["ports"][0]["port"] == int(port)
    assert f"server 127.0.0.1:{port};" in NGINX
    assert f"127.0.0.1:{port}" in (DEPLOY / "prometheus.yml").read_text()
    opened = re.findall(r"dport (?:\{([^}]*)\}|([0-9]+))", FIREWALL)
    assert port in FIREWALL and port not in " ".join(first + second for first, second in opened)


def test_all_run_as_the_same_user_with_a_read_only_root():
    user = "10001"
    assert f"USER {user}:{user}" in CONTAINERFILE
    assert COMPOSE["services"]["node"]["user"] == f"{user}:{user}"
    assert COMPOSE["services"]["node"]["read_only"] is True and COMPOSE["services"]["node"]["cap_drop"] == ["ALL"]
    pod = statefulset()["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == int(user) and pod["securityContext"]["runAsNonRoot"] is True
    for one in [*pod["containers"], *pod["initContainers"]]:
        context = one["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_there_is_never_a_second_pod():
    spec = statefulset()["spec"]
    assert spec["replicas"] == 1
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    kinds = [one["kind"] for one in OBJECTS]
    assert "Deployment" not in kinds and kinds.count("StatefulSet") == 1
    assert "HorizontalPodAutoscaler" not in kinds


def test_the_mode_of_files_on_the_volume_is_left_alone():
    """With fsGroup alone every mount would let the group write: a node refuses such keys."""
    pod = statefulset()["spec"]["template"]["spec"]
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    [files] = pod["initContainers"]
    assert "umask 077" in files["command"][-1]


def test_probes_ask_routes_that_need_no_token():
    open_routes = {route.path for route in health.OPEN}
    probes = [container()[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert set(probes) <= open_routes
    assert container()["livenessProbe"]["httpGet"]["path"] == "/health"  # not being ready is no reason to restart


def test_kubectl_knows_every_field():
    tool = needs("kubectl")
    source = DEPLOY / "kubernetes" / "waggle.yml"
    found = run(tool, "set", "image", "--local", "-f", str(source), "node=waggle:test", "-o", "yaml")
    read = YAML(typ="safe").load(found.stdout)
    assert read["kind"] == "StatefulSet", found.stderr
    missing = sorted(set(paths(statefulset())) - set(paths(read)))
    assert not missing  # what it does not know it drops


def paths(value: Any, at: str = "") -> list[str]:
    """Every key of nested maps and lists, as a path."""
    if isinstance(value, dict):
        return [path for key, one in value.items() for path in [f"{at}.{key}", *paths(one, f"{at}.{key}")]]
    if isinstance(value, list):
        names = [one.get("name", "") if isinstance(one, dict) else "" for one in value]
        return [path for name, one in zip(names, value, strict=True) for path in paths(one, f"{at}[{name}]")]
    return []


def test_all_yaml_can_be_read():
    for path in DEPLOY.rglob("*.yml"):
        assert list(YAML(typ="safe").load_all(path.read_text())), path


# -- proxy and Prometheus


def test_the_proxy_shows_the_routes_for_other_nodes_and_no_other():
    [pattern] = re.findall(r"location ~ (\S+) \{", NGINX)
    for route in (*health.OPEN, *v1.PUBLIC):
        path = re.sub(r"\{[^}]*\}", "0", route.path.replace("[^/]*", ""))
        assert re.search(pattern, path), path
    for path in [*(route.path for route in health.PRIVATE), "/", "/healthz", "/v1/snapshotsx", "/x/v1/roots/1"]:
        assert not re.search(pattern, path), path


def test_the_proxy_says_whom_it_speaks_for_and_asks_less_than_the_node_answers_one_client():
    named = re.findall(r"proxy_set_header (\S+) (\S+);", NGINX)
    assert ("X-Forwarded-For", "$remote_addr") in named and "X-Forwarded-For" in auth._FORWARDED
    assert ("Authorization", '""') in named  # no token gets through
    [rate] = re.findall(r"zone=waggle_all:\S+ rate=([0-9]+)r/s", NGINX)
    [burst] = re.findall(r"zone=waggle_all burst=([0-9]+)", NGINX)
    [busy] = re.findall(r"limit_conn waggle_busy ([0-9]+)", NGINX)
    limits = Limits()
    assert int(rate) < limits.rate and int(burst) < limits.burst and int(busy) < limits.requests_each


def test_prometheus_finds_the_rules_and_the_job_that_they_name():
    found = YAML(typ="safe").load((DEPLOY / "prometheus.yml").read_text())
    for name in found["rule_files"]:
        assert (DEPLOY / name).exists()
    [job] = found["scrape_configs"]
    assert f'job="{job["job_name"]}"' in (DEPLOY / "alerts.yml").read_text()
    assert job["metrics_path"] in {route.path for route in health.PRIVATE}


# -- the libraries' versions


def test_the_constraints_name_a_version_for_every_library_that_fits():
    lines = [line for line in (DEPLOY / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    wanted = [
        Requirement(line) for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    seen: set[str] = set()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        assert name in pinned, f"deploy/constraints.txt lacks {name}"
        assert one.specifier.contains(pinned[name]), f"{one} is not met by {pinned[name]}"
        if name not in seen:
            seen.add(name)
            extras = {"", *one.extras}
            wanted += [found for found in map(Requirement, requires(name) or []) if _is_needed(found, extras)]
    assert set(pinned) == seen


def _is_needed(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
