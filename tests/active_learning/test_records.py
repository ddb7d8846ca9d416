import pytest

from dal_toolbox.active_learning import CycleResult, append_result, read_results
from dal_toolbox.errors import UserError


def result(cycle: int) -> CycleResult:
    return CycleResult(
        cycle, (cycle, 10 + cycle), (0, 1), 2 * cycle + 2, {"nll": 0.1 + cycle}, {"fit": 0.5}
    )


def test_round_trip(tmp_path):
    path = tmp_path / "results.jsonl"
    assert read_results(path) == []
    for cycle in range(3):
        append_result(path, result(cycle))
        assert read_results(path) == [result(i) for i in range(cycle + 1)]
    assert CycleResult.from_json(result(1).to_json()) == result(1)


@pytest.mark.parametrize("cut", [1, 2, 30, 10**6])
def test_a_torn_last_line_is_ignored_and_replaced(tmp_path, cut, caplog):
    path = tmp_path / "results.jsonl"
    append_result(path, result(0))
    append_result(path, result(1))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    path.write_bytes(whole[: max(second + 1, len(whole) - cut)])
    assert read_results(path) == [result(0)]
    assert "middle of a line" in caplog.text
    append_result(path, result(1))
    assert path.read_bytes() == whole


def test_a_torn_first_line(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("x" * 10000)
    assert read_results(path) == []
    append_result(path, result(0))
    assert read_results(path) == [result(0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2 is no JSON object"),
        ("[1]", "line 2 is no JSON object"),
        ('{"cycle": 1}', "not the result of a cycle"),
        ('{"queried": [], "labels": [], "other": 1}', "not the result of a cycle"),
    ],
)
def test_a_complete_line_must_be_a_result(tmp_path, line, message):
    path = tmp_path / "results.jsonl"
    append_result(path, result(0))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=message):
        read_results(path)
