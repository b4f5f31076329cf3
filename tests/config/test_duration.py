import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.config.duration import duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("8w", 4_838_400)]
)
def test_a_length_of_time_is_in_seconds(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "1h30m", "٣d", "9999999999d", "1d\n"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='"30d"'):
        duration(text)


@given(st.text(alphabet="0123456789smhdw -.", max_size=6))
def test_a_number_and_a_unit_and_nothing_else(text: str) -> None:
    is_one = text[:-1].isdecimal() and int(text[:-1]) > 0 and text[-1:] in set("smhdw")
    if is_one:
        assert duration(text) == int(text[:-1]) * duration(f"1{text[-1]}")
    else:
        with pytest.raises(ValueError, match="not a length of time"):
            duration(text)
