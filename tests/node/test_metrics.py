"""What Prometheus reads: counted from events, shown from the status, with labels from bounded sets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from node.metrics import MAX_VALUES, Metrics, reason
from state.schema import MS
from tests.node.test_core import any_state, corrupt, new_group, run_to_founded, run_to_record
from tests.node.test_status import of


@pytest.fixture
def group(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    return group


def read(metrics: Metrics, status) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values in the order of the labels' names) -> value, as Prometheus parses it."""
    families = text_string_to_metric_families(metrics.render(status).decode())
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


# -- from the status


def test_gauges_are_what_the_status_says(group):
    found = read(Metrics(), of(group, store_bytes=123_456, resource_credits=88))
    height = any_state(group).height
    for name, value in {
        "height": height,
        "irreversible_height": height,
        "lag_blocks": 0,
        "live": 1,
        "ready": 1,
        "halted": 0,
        "agreed": 1,
        "on_own_root": 1,
        "open_rounds": 0,
        "runner": 1,
        "key_held": 1,
        "key_ripe": 1,
        "members": 5,
        "active_threshold": 3,
        "groups_own": 1,
        "sealed": 1,
        "resource_credits_percent": 88,
        "store_bytes": 123_456,
        "journal_held": 0,
        "signer_reachable": 1,
    }.items():
        assert found[f"waggle_{name}", ()] == value, name
    assert found["waggle_server_standing", ("north", "https://north.example")] == 2
    assert found["waggle_runner_agreed", ("runner05",)] == 1


def test_what_is_not_known_is_no_number(group):
    found = read(Metrics(), replace(of(group, sealed=None), journal_held=None))
    for name in ("sealed", "journal_held", "resource_credits_percent", "seconds_since_last_signature"):
        assert math.isnan(found[f"waggle_{name}", ()])


def test_a_transaction_is_shown_while_it_is_out_and_gone_afterwards(group):
    group.refuses = lambda account, item: item.content.startswith("sign") and account != "runner01"
    op = run_to_record(group, "payout")
    metrics = Metrics()
    group.run(4)
    found = read(metrics, of(group))
    labels = ("payout", op)
    assert found["waggle_transaction_missing_weight", (*labels, "active")] == 2
    assert found["waggle_transaction_signatures", labels] == 1
    assert found["waggle_transaction_unsigned_by_me", labels] == 1
    assert found["waggle_transaction_unsigned_late", labels] == 0
    late = of(group)
    late = replace(late, transactions=tuple(replace(one, age_blocks=20) for one in late.transactions))
    assert read(metrics, late)["waggle_transaction_unsigned_late", labels] == 1
    assert read(metrics, replace(late, signer="remote"))["waggle_transaction_unsigned_late", labels] == 0
    assert (
        found["waggle_transaction_age_blocks", labels] == any_state(group).height - any_state(group).need(MS, op).built
    )
    group.refuses = lambda account, item: False
    group.run_until(lambda: any_state(group).get(MS, op) is None, 60)
    assert not [key for key in read(metrics, of(group)) if op in key[1]]


def test_from_ready_to_confirmed_is_measured(group):
    metrics = Metrics()
    op = run_to_record(group, "payout")
    seen = {}

    def gone() -> bool:
        record = any_state(group).get(MS, op)
        if record is not None and record.status == "ready":
            seen["ready"] = record.ready_at
        metrics.observe(of(group))
        return record is None

    group.run_until(gone, 60)
    found = read(metrics, of(group))
    assert found["waggle_transactions_confirmed_total", ("payout",)] == 1
    took = found["waggle_ready_to_confirmed_seconds_sum", ("payout",)]
    assert took % 3 == 0 and 0 < took <= 3 * (any_state(group).height - seen["ready"])


def test_rounds_and_missed_reports_are_counted_as_they_are_seen(group):
    metrics = Metrics()
    metrics.observe(of(group))
    group.silent.add("runner02")
    for _ in range(45):
        group.step()
        metrics.observe(of(group))
    found = read(metrics, of(group))
    assert found["waggle_rounds_total", ("agreed",)] >= 2 and found["waggle_rounds_total", ("open",)] == 0
    assert 1 <= found["waggle_reports_missed_total", ()] <= found["waggle_rounds_total", ("agreed",)]
    assert found["waggle_missed_rounds", ()] == found["waggle_reports_missed_total", ()]


def test_a_round_that_agreed_on_another_root(group):
    metrics = Metrics()
    node = group.nodes["runner02"]
    metrics.observe(of(group))
    corrupt(node)
    group.run_until(lambda: node.halted_at is not None, 60)
    found = read(metrics, of(group))
    assert found["waggle_rounds_total", ("other_root",)] == 1 and found["waggle_halted", ()] == 1


# -- from events


def test_events_are_counted(group):
    clock = [1_000.0]
    metrics = Metrics(lambda: clock[0])
    for event, fields in (
        ("block", {"height": 1, "seconds": 0.002}),
        ("block", {"height": 2}),
        ("sent", {"content": "report:100"}),
        ("sent", {"content": "sign:1:2:3:aa"}),
        ("refused", {"content": "broadcast:1:2:3:4", "error": "north: Missing Active Authority the-group"}),
        ("hold", {"op": "1:2:3", "why": "manual", "detail": "..."}),
        ("server_banned", {"server": "https://north.example", "operator": "north", "why": "lied", "evidence": "x"}),
        ("alarm", {"height": 5, "what": "recover_account", "account": "the-group"}),
        ("signed_elsewhere", {"op": "1:2:3"}),
        ("api_error", {"error": "silence"}),
        ("start", {"account": "runner02"}),
    ):
        metrics.on_event(event, fields)
    clock[0] = 1_042.0
    found = read(metrics, of(group))
    assert found["waggle_blocks_applied_total", ()] == 2 and found["waggle_apply_seconds_count", ()] == 1
    assert found["waggle_reports_sent_total", ()] == found["waggle_signatures_sent_total", ()] == 1
    assert found["waggle_seconds_since_last_signature", ()] == 42
    assert found["waggle_broadcasts_refused_total", ("broadcast", "authority")] == 1
    assert found["waggle_not_signed_total", ("manual",)] == 1
    assert found["waggle_feed_bans_total", ("north", "https://north.example")] == 1
    assert found["waggle_alarms_total", ("recover_account",)] == 1
    assert found["waggle_events_total", ("signed_elsewhere",)] == found["waggle_events_total", ("api_error",)] == 1


def test_what_alerts_look_at_begins_at_zero(group):
    found = read(Metrics(), of(group))
    assert found["waggle_events_total", ("signed_elsewhere",)] == 0
    assert found["waggle_feed_bans_total", ("south", "https://south.example")] == 0
    assert found["waggle_auth_failures_total", ("wrong",)] == 0
    assert found["waggle_alarms_total", ("recover_account",)] == 0
    assert found["waggle_broadcasts_refused_total", ("sign", "resource_credits")] == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Duplicate transaction check failed", "duplicate"),
        ("transaction expiration exception", "expired"),
        ("missing required active authority", "authority"),
        ("tapos_exception: Assert Exception:trx.ref_block_prefix", "reference_block"),
        ("Account: alice has 5 RC, needs 7 RC. Please wait to transact", "resource_credits"),
        ("Account does not have sufficient funds", "balance"),
        ("signature is not canonical", "signature"),
        ("Bad Cast: Invalid cast", "invalid"),
        ("it rains", "other"),
        ("", "other"),
    ],
)
def test_reasons_of_refused_broadcasts(text, name):
    assert reason(f"https://north.example: {text}") == name


@given(st.text(max_size=3_000))
def test_any_text_has_one_of_few_reasons(text):
    known = {"duplicate", "expired", "authority", "reference_block", "resource_credits", "balance", "too_many"}
    assert reason(text) in known | {"signature", "invalid", "other"}


def test_labels_from_outside_are_bounded(group):
    metrics = Metrics()
    for number in range(500):
        metrics.on_event("server_banned", {"server": f"https://{number}.example", "operator": f"operator {number}"})
        metrics.on_event("http", {"route": f"/x/{number}", "status": number, "seconds": 0.1, "denied": f"no{number}"})
        metrics.on_event("hold", {"why": f"free text number {number}"})
        metrics.on_event("hold", {"why": f"code_{number}"})
        metrics.on_event("alarm", {"what": f"alarm_{number}"})
        metrics.on_event("sent", {"content": f"{number}:x"})
        metrics.on_event("refused", {"content": "\n", "error": "\x00" * number})
        metrics.on_event(f"event {number}", {})
    found = read(metrics, of(group))
    for name in ("feed_bans", "not_signed", "alarms", "auth_failures", "broadcasts", "events"):
        assert len([key for key in found if key[0] == f"waggle_{name}_total"]) <= MAX_VALUES + 1, name
    assert len([key for key in found if key[0] == "waggle_http_requests_total"]) <= (MAX_VALUES + 1) * 2
    assert found["waggle_feed_bans_total", ("other", "other")] == 500 - MAX_VALUES


@pytest.mark.parametrize("event", ["block", "sent", "refused", "hold", "server_banned", "alarm", "http", "nothing"])
def test_events_without_fields_or_with_strange_ones_do_no_harm(group, event):
    metrics = Metrics()
    for fields in ({}, {"seconds": "soon", "content": 7, "error": None, "why": [], "what": {}, "status": None}):
        metrics.on_event(event, fields)
    assert read(metrics, of(group))


def test_texts_with_quotes_and_line_feeds_stay_one_label(group):
    found = of(group)
    [first, *rest] = found.servers
    strange = replace(found, servers=(replace(first, operator='a "b"\n\\c'), *rest))
    assert read(Metrics(), strange)["waggle_server_score", ('a "b"\n\\c', first.url)] == 98
