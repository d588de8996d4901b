"""What watches a node: whether the process works, whether it takes its part, how it is."""

import asyncio

import pytest
from msgspec.structs import replace

from node.api.auth import Access
from tests.node.api.serving import ELSEWHERE, ServedNode, serving
from tests.node.test_core import corrupt, new_group, run_to_founded


@pytest.fixture
def node(tmp_path) -> ServedNode:
    group = new_group(tmp_path)
    run_to_founded(group)
    return ServedNode(group, tmp_path)


def asked(node: ServedNode, folder, *paths: str, **how):
    async def main():
        async with serving(node, folder) as server:
            return [(await server.ask(path, **how))[:2] for path in paths]

    return asyncio.run(main())


def test_a_node_that_works_is_healthy_and_ready(node, tmp_path):
    health, ready = asked(node, tmp_path, "/health", "/ready")
    assert health[0] == 200 and health[1]["ok"] and health[1]["account"] == "runner02" and not health[1]["attention"]
    assert ready == (200, {"ready": True, "reasons": []})


def test_a_node_that_is_behind_is_healthy_and_not_ready(node, tmp_path):
    node.facts = replace(node.facts, is_live=False)
    health, ready = asked(node, tmp_path, "/health", "/ready")
    assert health[0] == 200 and health[1]["attention"][0]["name"] == "lag"
    why = "not live: it has the newest irreversible block, and acts from the next one on"
    assert ready == (503, {"ready": False, "reasons": [why]})


def test_a_halted_node_is_not_ready(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    corrupt(group.nodes["runner02"])
    group.run_until(lambda: group.nodes["runner02"].halted_at is not None, 60)
    [(status, body)] = asked(ServedNode(group, tmp_path), tmp_path, "/ready")
    assert status == 503 and body["reasons"][0].startswith("halted")


def test_a_node_that_has_not_begun_is_not_ready(tmp_path):
    group = new_group(tmp_path)
    health, ready, metrics, status = asked(
        ServedNode(group, tmp_path), tmp_path, "/health", "/ready", "/metrics", "/v1/status"
    )
    assert (health[0], ready[0], metrics[0], status[0]) == (200, 503, 200, 200)
    assert status[1]["height"] == -1


def test_from_elsewhere_it_says_no_more_than_yes_or_no(node, tmp_path):
    health, ready = asked(node, tmp_path, "/health", "/ready", headers=ELSEWHERE)
    assert health == (200, {"ok": True}) and ready == (200, {"ready": True})


def test_a_token_shows_the_rest(node, tmp_path):
    from hashlib import sha256

    async def main():
        access = Access(tokens=(sha256(b"a token of ours").digest(),))
        async with serving(node, tmp_path, access=access) as server:
            headers = {**ELSEWHERE, "Authorization": "Bearer a token of ours"}
            return [(await server.ask(path, headers=headers))[1] for path in ("/health", "/ready", "/v1/status")]

    health, ready, status = asyncio.run(main())
    assert "attention" in health and "reasons" in ready and status["account"] == "runner02"


def test_metrics_are_prometheus_text_and_count_the_requests(node, tmp_path):
    async def main():
        async with serving(node, tmp_path) as server:
            await server.ask("/v1/roots/0")
            await server.ask("/v1/roots/1")
            await server.ask("/nowhere")
            async with server.session.get(server.url + "/metrics") as response:
                assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                return await response.text()

    text = asyncio.run(main())
    assert 'waggle_http_requests_total{route="/v1/roots/{height}",status="404"} 2.0' in text
    assert 'waggle_http_requests_total{route="other",status="404"} 1.0' in text
    assert "waggle_ready 1.0" in text
