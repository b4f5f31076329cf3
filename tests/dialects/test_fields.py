"""A field that Transom reads means the same to every reader, or the request is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.gemini.generate import GENERATE
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.embeddings import EMBEDDINGS
from transom.dialects.translate import Dialect
from transom.errors import InvalidRequest

MEMBERS: dict[Dialect, dict[str, str]] = {
    CHAT: {"model": '"m"', "messages": "[]", "stream": "true", "max_tokens": "9", "n": "1"},
    GENERATE: {"contents": "[]", "generationConfig": "{}", "cachedContent": "null"},
    EMBEDDINGS: {"model": '"v"', "input": '"x"'},
}
EACH = [(dialect, field) for dialect, members in MEMBERS.items() for field in members]
each_field = pytest.mark.parametrize(("dialect", "field"), EACH, ids=[f"{d.NAME}-{f}" for d, f in EACH])
BETWEEN = [
    '"x": {"y": "\\""}',
    '"x": ["model", {"model": "z", "Input": 1, "stream": [{}]}]',
    '"x": 1e400, "é": "\\u00e9"',
]


def written(dialect: Dialect, field: str, keys: list[str], between: str) -> bytes:
    """Write a request with `field` under these keys, quoted as they are."""
    members = [f'"{name}": {value}' for name, value in MEMBERS[dialect].items() if name != field]
    members += [f'"{key}": {MEMBERS[dialect][field]}, {between}' for key in keys]
    return ("{" + ", ".join(members) + "}").encode()


def spellings(field: str) -> list[str]:
    escaped = f"\\u{ord(field[0]):04x}{field[1:]}"
    long_s = [field.replace("s", "\u017f", 1), field.replace("s", "\\u017F", 1)] if "s" in field else []
    return [field.capitalize(), field.upper(), escaped.replace(field[1:], field[1:].upper()), *long_s]


@each_field
@pytest.mark.parametrize("between", BETWEEN)
def test_a_field_that_stands_twice_is_refused(dialect: Dialect, field: str, between: str) -> None:
    escaped = f"{field[:-1]}\\u{ord(field[-1]):04X}"
    for second in (field, escaped, *spellings(field)):
        for keys in ([field, second], [second, field], [escaped, second]):
            with pytest.raises(InvalidRequest) as raised:
                dialect.read(written(dialect, field, keys, between))
            assert (raised.value.param, raised.value.status) == (field, 400), keys


def test_a_field_in_other_letters_alone_is_refused() -> None:
    """Transom would take the answer for a plain one, where the upstream streams."""
    for spelled in spellings("stream"):
        with pytest.raises(InvalidRequest) as raised:
            CHAT.read(written(CHAT, "stream", [spelled], BETWEEN[0]))
        assert raised.value.param == "stream"


@each_field
@pytest.mark.parametrize("between", BETWEEN)
def test_once_is_read_however_it_is_escaped(dialect: Dialect, field: str, between: str) -> None:
    for key in (field, f"{field[:-1]}\\u{ord(field[-1]):04x}"):
        body = written(dialect, field, [key], between)
        call = dialect.read(body)
        assert call.body == body
        assert call.stream is ("stream" in MEMBERS[dialect])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (
            '"generationConfig": {"maxOutputTokens": 9}, "generation_config": {"maxOutputTokens": 1}',
            "generation_config",
        ),
        ('"cachedContent": "a", "cached_content": "b"', "cached_content"),
        ('"generationConfig": {"maxOutputTokens": 9, "maxOutputTokens": 1}', "generationConfig.maxOutputTokens"),
        ('"generationConfig": {"maxOutputTokens": 9, "max_output_tokens": 1}', "generationConfig.max_output_tokens"),
        ('"generationConfig": {"MaxOutputTokens": 9}', "generationConfig.maxOutputTokens"),
        ('"generation_config": {"candidateCount": 1, "candidate_count": 9}', "generationConfig.candidate_count"),
        ('"generationConfig": [9]', "generationConfig"),
    ],
)
def test_gemini_has_two_spellings_of_one_field(body: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        GENERATE.read(f'{{"contents": [], {body}}}'.encode())
    assert raised.value.param == param


@given(st.dictionaries(st.text(max_size=8), st.none() | st.text(max_size=8), max_size=6))
def test_other_fields_may_be_anything(others: dict[str, str | None]) -> None:
    kept = {name: value for name, value in others.items() if name.casefold() not in {*MEMBERS[CHAT], "tools"}}
    twice = json.dumps(kept)[1:-1]
    body = '{"model": "m", "messages": []' + "".join(f", {part}" for part in (twice, twice) if part) + "}"
    assert CHAT.read(body.encode()).model == "m"


def test_a_key_that_is_no_text_is_no_json() -> None:
    with pytest.raises(InvalidRequest) as raised:
        CHAT.read(b'{"model": "m", "messages": [], "\\ud800": 1}')
    assert raised.value.code == "invalid_json"
