import importlib.util

import msgspec
import pytest

from transom.engine.settings import EngineSettings
from transom.errors import StartError


@pytest.mark.parametrize("text", [b'{"threads":0}', b'{"parallel":0}', b'{"context":100}', b'{"thread":1}'])
def test_a_setting_out_of_range_or_unknown_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=EngineSettings)


def test_unset_it_runs_where_its_library_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EngineSettings().wanted() == (importlib.util.find_spec("xllamacpp") is not None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not EngineSettings().wanted()


def test_asked_for_without_its_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StartError, match=r"pip install 'transom\[local\]'"):
        EngineSettings(enabled=True).wanted()
    assert not EngineSettings(enabled=False).wanted()


def test_one_processor_stays_for_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transom.engine.settings._processors", lambda: 8)
    assert EngineSettings().thread_count() == 7
    assert EngineSettings(threads=3).thread_count() == 3
    monkeypatch.setattr("transom.engine.settings._processors", lambda: 1)
    assert EngineSettings().thread_count() == 1
