"""The ledger: a call id runs once, its ending is kept until it is acknowledged, and memory is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.pipe.frames import End
from sandbox.pipe.ledger import Known, Ledger
from sandbox.pipe.messages import Done


def test_a_call_is_new_once() -> None:
    ledger = Ledger()
    assert ledger.begin("a") is Known.NEW
    assert ledger.begin("a") is Known.RUNNING
    ledger.end(End("a", Done()))
    assert ledger.begin("a") is Known.ENDED
    ledger.acknowledge("a")
    assert ledger.begin("a") is Known.ENDED


def test_an_ending_is_kept_until_it_is_acknowledged() -> None:
    ledger = Ledger()
    ledger.begin("a")
    ledger.end(End("a", Done()))
    assert ledger.endings == (End("a", Done()),)
    ledger.acknowledge("a")
    assert not ledger.endings
    fault = ledger.ending("a").fault
    assert fault is not None
    assert fault.name == "forgotten"


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "ack"]), st.integers(0, 40)), max_size=300))
def test_no_order_of_events_runs_a_call_twice_or_grows_without_bound(steps: list[tuple[str, int]]) -> None:
    ledger = Ledger(limit=4)
    begun: list[str] = []
    for step, number in steps:
        call_id = str(number)
        if step == "begin" and ledger.begin(call_id) is Known.NEW:
            begun.append(call_id)
        elif step == "end" and call_id in ledger.running:
            ledger.end(End(call_id, Done()))
        elif step == "ack":
            ledger.acknowledge(call_id)
        assert len(ledger.endings) <= 4
        assert len(ledger._forgotten) <= 16
    recent = begun[-16:]
    assert len(set(recent)) == len(recent)
