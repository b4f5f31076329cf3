import json
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.model_name import swap_model

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["model", "Model", '"model"', "\\", '{"model":"x"}', "é€😀", "\x7f"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])


class Written(NamedTuple):
    """A JSON object as some client may have written it: what stands before and after its model, and what it means."""

    before: bytes
    model: bytes
    after: bytes
    meant: dict[str, Any]


@st.composite
def written(draw: st.DrawFn) -> Written:
    fields = draw(st.dictionaries(TEXTS.filter(lambda key: key.lower() != "model"), VALUES, max_size=4))
    place = draw(st.integers(0, len(fields)))
    parts = [_member(draw, json.dumps(key, ensure_ascii=draw(st.booleans())), value) for key, value in fields.items()]
    key = draw(st.sampled_from(['"model"', '"m\\u006fdel"', '"\\u006Dodel"']))
    model = draw(TEXTS)
    head = draw(SPACES) + "{" + "".join(part + "," for part in parts[:place]) + draw(SPACES) + key + draw(SPACES) + ":"
    tail = "".join("," + part for part in parts[place:]) + draw(SPACES) + "}" + draw(SPACES)
    spaced, value = head + draw(SPACES), json.dumps(model, ensure_ascii=draw(st.booleans()))
    return Written(spaced.encode(), value.encode(), tail.encode(), fields | {"model": model})


def _member(draw: st.DrawFn, key: str, value: object) -> str:
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return draw(SPACES) + key + draw(SPACES) + ":" + draw(SPACES) + text + draw(SPACES)


@given(written(), TEXTS)
def test_only_the_models_value_differs(body: Written, name: str) -> None:
    swapped = swap_model(body.before + body.model + body.after, name)
    assert swapped == body.before + msgspec.json.encode(name) + body.after
    assert json.loads(swapped) == body.meant | {"model": name}


def test_a_number_of_any_length_and_a_word_in_any_depth_are_passed_over() -> None:
    body = b'{"a": [' + b"9" * 5000 + b', {"model": "no"}, "\xc3\xa9"], "dup": 1, "dup": {"x": "y"}, "model":%s}'
    assert swap_model(body % b' "m"', "n") == body % b' "n"'
