"""The spool: every call once, in order, whatever is cut short in between."""

import json

import pytest

from pipeline.adapters.spool import Spool


def drained(spool):
    found = []
    while spool.deliver(lambda what, values: found.append((what, values))):
        pass
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "calls.spool"


def test_calls_are_sent_once_and_in_order_by_whichever_process(path):
    spool = Spool(path, "here")
    for number in range(3):
        spool.append("count", {"number": number})
    assert spool.waiting == 3
    assert spool.deliver(lambda *_: None)
    again = Spool(path, "here")
    assert drained(again) == [("count", {"number": 1}), ("count", {"number": 2})]
    assert drained(Spool(path, "here")) == []
    assert [values["number"] for _, values in drained(Spool(path, "elsewhere"))] == [0, 1, 2]


def test_the_same_call_is_kept_once_and_a_nameless_one_each_time(path):
    spool = Spool(path, "here")
    spool.append("tell", {"a": 1})
    again = Spool(path, "here")
    again.append("tell", {"a": 1})
    again.append("tell", {"a": 2}, name="first")
    again.append("tell", {"a": 3}, name="first")
    again.append("tell", {"a": 1}, name="")
    again.append("tell", {"a": 1}, name="")
    assert [values["a"] for _, values in drained(again)] == [1, 2, 1, 1]


def test_a_call_that_fails_stays_the_next(path):
    spool = Spool(path, "here")
    spool.append("tell", {})

    def refuse(what, values):
        raise ConnectionError(what)

    with pytest.raises(ConnectionError):
        spool.deliver(refuse)
    assert spool.waiting == 1
    assert drained(Spool(path, "here")) == [("tell", {})]


@pytest.mark.parametrize("cut", [1, 20, 75])
def test_a_line_cut_short_by_a_crash_was_never_written(path, cut):
    spool = Spool(path, "here")
    spool.append("tell", {"number": 1})
    spool.append("tell", {"number": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    again = Spool(path, "here")
    assert again.damaged == ""
    again.append("tell", {"number": 3})
    assert [values["number"] for _, values in drained(Spool(path, "here"))] == [1, 3]


@pytest.mark.parametrize("where", [0, 40, 70, 100])
def test_an_altered_line_is_named_set_aside_and_the_rest_is_sent_again(path, where):
    spool = Spool(path, "here")
    for number in (1, 2, 3):
        spool.append("tell", {"number": number})
    drained(spool)
    raw = bytearray(path.read_bytes())
    raw[where] ^= 1
    path.write_bytes(bytes(raw))
    again = Spool(path, "here")
    assert "1 lines are damaged" in again.damaged
    assert path.with_name("calls.spool.damaged-1").read_bytes() == bytes(raw)
    assert [values["number"] for _, values in drained(again)] == [2, 3]
    assert Spool(path, "here").damaged == ""


@pytest.mark.parametrize("marks", ["", "{", "[]", '{"receiver": "here"}', '{"sent": "x"}'])
def test_without_a_mark_everything_is_sent_again(path, marks):
    spool = Spool(path, "here")
    spool.append("tell", {"number": 1})
    drained(spool)
    path.with_name("calls.spool.sent").write_text(marks)
    assert len(drained(Spool(path, "here"))) == 1


def test_what_is_kept_is_plain_data(path):
    spool = Spool(path, "here")
    spool.append("tell", {"path": path, "pair": (1, 2), "nan": float("nan")})
    ((_, values),) = drained(spool)
    assert (values["path"], values["pair"]) == (str(path), [1, 2])
    assert json.dumps(values)
