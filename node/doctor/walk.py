"""The walk of `waggle doctor` through all checks: those of this machine in order, those that ask others at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from node import control
from node.config import Config
from node.doctor import around, chain, home, machine, servers
from node.doctor.finding import Case, Finding, fail, skip
from node.errors import NodeError
from node.feed.http import Http
from node.feed.rpc import Api
from node.membership import domains, look
from node.signer.guard import guard_memory

#: Seconds for one check with all its questions.
CHECK_SECONDS = 30.0
#: Told what is looked at now.
Tell = Callable[[str], None]


async def examine(
    config: Config,
    *,
    expected: str = "",
    password: Callable[[], str] | None = None,
    tell: Tell = lambda words: None,
    guard: Callable[[], list[str]] = guard_memory,
) -> tuple[Finding, ...]:
    """Every finding. ``expected``: the genesis hash; ``password`` None: the keys stay closed."""
    case = Case(config)
    tell("this machine")
    found = _local(lambda: machine.memory(case, guard))  # before a key is opened
    for check in (machine.files, machine.disk, machine.clock_service):
        found += _local(lambda check=check: check(case))  # type: ignore[misc]
    tell("the running node")
    found.append(await _running(case))
    for check in (lambda one: home.genesis(one, expected), home.own_version, home.key_files):
        found += _local(lambda check=check: check(case))  # type: ignore[misc]
    tell("the keys")
    if password is None:
        found.append(skip("password", "the keys were not opened (--no-password)"))
    else:
        asked = password
        found += _local(lambda: home.open_all(case, asked))
    tell("the data folder")
    for check in (home.store, home.journal, home.folders):
        found += _local(lambda check=check: check(case))  # type: ignore[misc]
    return (*found, *await _outside(case, tell))


async def _outside(case: Case, tell: Tell) -> list[Finding]:
    """What asks others: the servers first, since the rest needs a good one."""
    config = case.config
    found: list[Finding] = []
    found += await _supervised("state", _known(case))
    async with aiohttp.ClientSession() as session:
        apis = servers.apis_of(config.apis, Http(session), config.account)
        tell(f"{len(apis)} API servers")
        found += await _supervised("api", _servers(case, apis, session))
        found += _local(lambda: servers.clock(case))
        found += _local(lambda: chain.registration(case))
        good = {one.url for one in case.servers if not one.error}
        best = sorted(apis, key=lambda api: api.url not in good)
        tell("the accounts, the other members, the own address")
        several: dict[str, Awaitable[list[Finding]]] = {
            "account": chain.account(case, best),
            "group": chain.group(case, best),
            "credits": chain.all_credits(case, best),
            "http": around.http(case),
            "peers": _peers(case, session),
            "signer": around.signer(case),
        }
        parts = await asyncio.gather(*(_supervised(name, check) for name, check in several.items()))
    return found + [finding for part in parts for finding in part]


async def _running(case: Case) -> Finding:
    """Whether the node runs; its status is remembered in the case."""
    try:
        case.status = await control.status(case.config.data / control.CONTROL)
    except NodeError as error:
        return skip("node", str(error)[:300])
    state = "live" if case.status.live else "not live"
    return Finding("node", "ok", f"runs as {case.status.account}, at height {case.status.height}, {state}")


async def _known(case: Case) -> list[Finding]:
    """What the group knows of this member is remembered in the case; what is odd about it, `registration` says."""
    if case.genesis is not None:
        key = case.keys.signing[0].public if case.keys is not None and case.keys.signing else b""
        case.known = await look(case.config, case.genesis, key)
    return []


async def _servers(case: Case, apis: Sequence[Api], session: aiohttp.ClientSession) -> list[Finding]:
    if case.genesis is None:
        return [skip("api", "not asked: the genesis cannot be used")]
    case.servers = await servers.look(apis, case.genesis)
    good = {one.url: one.view.irreversible_number for one in case.servers if one.view is not None and not one.error}
    answers = await asyncio.gather(*(servers.compresses(session, url, newest) for url, newest in good.items()))
    return servers.judge(case, dict(zip(good, answers, strict=True)))


async def _peers(case: Case, session: aiohttp.ClientSession) -> list[Finding]:
    urls = dict(zip(case.config.peers, case.config.peers, strict=True))
    if case.genesis is not None:
        for account, domain in (await domains(case.config, case.genesis)).items():
            if account != case.config.account:
                urls.setdefault(domain.rstrip("/"), account)
    return await around.peers(case, session, urls)


def _local(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  one check that breaks must not hide what the others find
        return [_broken("check", error)]


async def _supervised(name: str, check: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await asyncio.wait_for(check, CHECK_SECONDS)
    except TimeoutError:
        return [fail(name, f"no end within {CHECK_SECONDS:g} s", "try again; look which server or peer is silent")]
    except Exception as error:  # noqa: BLE001  one check that breaks must not hide what the others find
        return [_broken(name, error)]


def _broken(name: str, error: Exception) -> Finding:
    return fail(name, f"the check itself failed: {error!r}"[:500], "report it with this line")
