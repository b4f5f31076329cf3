import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.policy import text
from transom.policy.vocabulary import starter_files

STARTER = "\n".join(starter_files().values())
POLICY = '@id("x")\npermit (principal, action, resource)\nwhen { resource.rung > 1 && ["é", ";"].contains("\\"") };'


def says(source: str) -> str | None:
    try:
        cedarpy.policies_to_pst(source)
    except ValueError as error:
        return str(error)
    return None


@given(
    st.lists(
        st.sampled_from([POLICY, "// permit;\n", "\n", " ", '// "\n', '\n@id("y") forbid(principal,action,resource);'])
    )
)
def test_a_file_is_cut_where_cedar_cuts_it(pieces: list[str]) -> None:
    source = "".join(pieces)
    if says(source) is None:
        cut = text.statements(source)
        assert len(cut) == len(cedarpy.policies_to_pst(source).static_policies)
        assert all(source[each.start :].startswith(each.text) and says(each.text) is None for each in cut)


@given(st.data())
def test_a_word_too_much_is_found(data: st.DataObject) -> None:
    words = text.tokens(POLICY)
    index = data.draw(st.integers(0, len(words) - 1))
    at = words[index].start
    broken = f"{POLICY[:at]}: {POLICY[at:]}"
    (statement,) = text.statements(broken)
    message = says(statement.text)
    # Between a variable and what follows it the colon itself may stand, and the word after it may not.
    assert message in {"unexpected token `:`", f"unexpected token `{words[index].text}`"}
    offset = text.offset_of_syntax_error(statement, message, says)
    assert offset == (at if message == "unexpected token `:`" else at + 2)


@given(st.data())
def test_a_word_too_few_is_found_at_or_after_the_gap(data: st.DataObject) -> None:
    words = text.tokens(POLICY)
    gap = words[data.draw(st.integers(0, len(words) - 2))]
    statement = text.statements(POLICY[: gap.start] + " " * len(gap.text) + POLICY[gap.end :])[0]
    message = says(statement.text)
    if message is not None and message.startswith("unexpected token"):
        offset = text.offset_of_syntax_error(statement, message, says)
        assert offset >= gap.end
        assert POLICY[offset:].startswith(message.removeprefix("unexpected token `").removesuffix("`"))


@given(st.text(alphabet='ab"\\/; \n@:=&|?19é#', max_size=30))
def test_any_text_is_cut_into_words_or_refused_at_a_character(source: str) -> None:
    refused: list[int] = []
    words: list[text.Token] = []
    try:
        words = text.tokens(source)
    except text.BadText as error:
        refused.append(error.offset)
    assert all(source[word.start : word.end] == word.text for word in words)
    assert all(source[offset] in '"\\é#&|?' for offset in refused)


@pytest.mark.parametrize(("offset", "place"), [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (4, (3, 2))])
def test_places_count_from_one(offset: int, place: tuple[int, int]) -> None:
    assert text.line_and_column("a\n\nbc", offset) == place


def test_what_a_message_quotes_is_found_by_words_then_by_letters_then_not_at_all() -> None:
    (statement,) = text.statements("\n" + POLICY)
    assert text.offset_of(statement, "resource . rung") == POLICY.index("resource.rung") + 1
    assert text.offset_of(statement, '\\"') == POLICY.index('\\"') + 1
    assert text.offset_of(statement, "nowhere") is None
    assert text.offset_of_quoted(statement, "nothing is quoted") == statement.start
    assert text.offset_of_quoted(statement, "`nowhere`, and the `action`") == POLICY.index("action") + 1


def test_the_starter_set_is_cut_into_its_policies() -> None:
    assert len(text.statements(STARTER)) == STARTER.count("@id(")
