"""A safeguard sees every string of a body, whatever its escapes."""

import json
from collections.abc import Iterator
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.strings import strings

Json: TypeAlias = "str | int | list[Json] | dict[str, Json]"
WORDS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\\"/nu\n\t')
BODIES: st.SearchStrategy[Json] = st.recursive(
    WORDS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner), max_leaves=12
)


def leaves(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from leaves(each)


@given(BODIES, st.booleans())
def test_every_string_is_seen_as_it_is_meant(value: Json, only_ascii: bool) -> None:
    (text,) = strings(json.dumps(value, ensure_ascii=only_ascii).encode())
    for leaf in leaves(value):
        assert leaf in text
