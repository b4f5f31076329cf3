"""The order in which the events of streams reach their writers."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.dialects.middle import Counted, Ended, Event, Logprob, Started, TextDelta, ToolDelta, ToolStarted
from transom.dialects.order import Ordered
from transom.dialects.translate import InvalidAnswer
from transom.values import Usage

ARGUMENTS = ['{"x": 1}', '{"y": [2, "}\\"{"]}', "{}", "", "{", '"\\\\']


def ordered(events: Iterable[Event]) -> list[Event]:
    stage = Ordered()
    return [each for event in events for each in stage.take(event)] + stage.rest()


def test_words_wait_for_arguments_that_they_interrupt() -> None:
    events: list[Event] = [ToolStarted(0, "a", "w"), ToolDelta(0, '{"x":'), TextDelta("\n"), ToolDelta(0, "1}")]
    assert ordered(events) == [*events[:2], events[3], events[2]]


def test_so_do_probabilities_alone() -> None:
    between = TextDelta("", logprobs=(Logprob("\n", -0.5),))
    events: list[Event] = [ToolStarted(0, "a", "w"), ToolDelta(0, "{"), between, ToolDelta(0, "}"), Ended("tool_use")]
    assert ordered(events) == [*events[:2], events[3], between, events[4]]


def test_a_tool_without_arguments_ends_with_its_choice() -> None:
    events: list[Event] = [ToolStarted(0, "a", "w"), TextDelta("Done."), ToolStarted(1, "b", "w"), ToolDelta(1, "{}")]
    assert ordered([*events, Ended("tool_use")]) == [*events, Ended("tool_use")]
    assert ordered(events) == events  # its end may be missing


def test_what_can_be_said_is_said_at_once() -> None:
    stage = Ordered()
    events: list[Event] = [
        Started("i", "m", 0),
        TextDelta("Let me see."),
        ToolStarted(0, "a", "w"),
        ToolDelta(0, '{"x'),
        Counted(Usage(1, None, 2, None, "upstream")),
        TextDelta("Another choice.", choice=1),
        ToolDelta(0, '":1}'),
        ToolStarted(1, "b", "w"),
        Ended("tool_use"),
    ]
    assert [stage.take(event) for event in events] == [[event] for event in events]


def test_white_space_after_whole_arguments_is_no_matter_and_more_is_refused() -> None:
    events: list[Event] = [ToolStarted(0, "a", "w"), ToolDelta(0, "{}"), TextDelta("Done.")]
    assert ordered([*events, ToolDelta(0, "\n")]) == events
    with pytest.raises(InvalidAnswer):
        ordered([*events, ToolDelta(0, '{"x": 1}')])
    with pytest.raises(InvalidAnswer):
        ordered([ToolDelta(0, "{}")])


@settings(deadline=None)
@given(st.data())
def test_whatever_comes_by_turns_is_told_one_after_the_other_and_nothing_is_lost(data: st.DataObject) -> None:
    left: dict[int, list[Event]] = {
        tool: [ToolStarted(tool, f"call_{tool}", "w"), *(ToolDelta(tool, letter) for letter in text)]
        for tool, text in enumerate(ARGUMENTS)
    }
    left[-1] = [TextDelta(letter) for letter in "words"]
    events: list[Event] = []
    while any(left.values()):
        events.append(left[data.draw(st.sampled_from([key for key, rest in left.items() if rest]))].pop(0))
    said = ordered([*events, Ended("tool_use")])
    told = [event.tool if isinstance(event, ToolStarted | ToolDelta) else -1 for event in said[:-1]]
    turns = [tool for place, tool in enumerate(told) if tool >= 0 and (not place or told[place - 1] != tool)]
    assert len(turns) == len(set(turns)) == len(ARGUMENTS)
    assert sorted(map(repr, said)) == sorted(map(repr, [*events, Ended("tool_use")]))
    for tool, text in enumerate(ARGUMENTS):
        pieces = [event.arguments for event in said if isinstance(event, ToolDelta) and event.tool == tool]
        assert "".join(pieces) == text
    assert "".join(event.text for event in said if isinstance(event, TextDelta)) == "words"


@settings(deadline=None)
@given(
    st.recursive(st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_arguments_are_whole_with_their_last_character_and_not_before(value: object) -> None:
    text = json.dumps({"value": value})
    stage = Ordered()
    stage.take(ToolStarted(0, "a", "w"))
    assert stage.take(TextDelta("after")) == []
    for letter in text[:-1]:
        assert stage.take(ToolDelta(0, letter)) == [ToolDelta(0, letter)]
    assert stage.take(ToolDelta(0, text[-1])) == [ToolDelta(0, text[-1]), TextDelta("after")]
