"""A bit that flips at rest is found and mended from what is signed, and nothing is mended on a guess."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.ledger import outsider
from tests.ledger.making import NOW, Home, decision, outcome, requests
from tests.ledger.test_verify import with_content

from transom.errors import LedgerError
from transom.ledger import store
from transom.ledger.scrub import Found, Mended, Scrubber
from transom.ledger.verify import verify_all

SIZES = (1, 255, 256, 257, 600)


def scrubber(home: Home) -> Scrubber:
    return Scrubber(home.database, home.objects, home.keys)


def round_of(home: Home, scrub: Scrubber | None = None) -> Found:
    """Go round the whole log once."""
    found = Found([], [])
    scrub = scrub or scrubber(home)
    with home.database.begin(write=False) as connection:
        last = store.last_checkpoint(connection)
    for _ in range(-(-(last.size if last else 0) // 256) or 1):
        step = scrub.step()
        found.mended.extend(step.mended)
        found.problems.extend(step.problems)
    return found


def rows(home: Home) -> list[tuple[int, str, bytes]]:
    with home.database.begin(write=False) as connection:
        return [tuple(row) for row in connection.execute(text("SELECT id, type, body FROM entry ORDER BY id"))]


def objects(home: Home) -> dict[str, bytes | None]:
    return {path: home.objects.get(path) for path in home.objects.list("ledger")}


def grown(home: Home, *sizes: int) -> Home:
    total = 0
    for size in sizes:
        home.write(requests(size - total))
        home.sequencer().run_once()
        total = size
    return home


def flip(data: bytes, place: int, bit: int = 0) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Home]:
    made = {}
    for size in SIZES:
        folder = tmp_path_factory.mktemp(f"log{size}")
        made[size] = grown(Home(folder, f"sqlite:///{folder}/transom.db"), size)
    return made


@pytest.mark.parametrize("size", SIZES)
def test_a_sound_log_is_left_alone(logs: dict[int, Home], size: int) -> None:
    before = objects(logs[size]), rows(logs[size])
    assert round_of(logs[size]) == Found([], [])
    assert (objects(logs[size]), rows(logs[size])) == before


def test_an_empty_log_is_no_trouble(home: Home) -> None:
    assert round_of(home) == Found([], [])
    home.sequencer().run_once()
    assert round_of(home) == Found([], [])


@given(data=st.data(), size=st.sampled_from(SIZES))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_of_any_tile_is_mended(logs: dict[int, Home], size: int, data: st.DataObject) -> None:
    home = logs[size]
    before = objects(home)
    path = data.draw(st.sampled_from([path for path in sorted(before) if "/tile/" in path]))
    whole = before[path]
    assert whole is not None
    harm: Callable[[], bytes | None] = data.draw(
        st.sampled_from(
            [
                lambda: flip(whole, data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))),
                lambda: whole[:-1],
                lambda: b"",
                lambda: None,
            ]
        )
    )
    harmed = harm()
    if harmed is None:
        home.objects.delete([path])
    else:
        home.objects.put(path, harmed)
    found = round_of(home)
    assert found.problems == []
    assert found.mended == [Mended("tile", path, "missing" if harmed is None else "altered")]
    assert objects(home) == before


@given(data=st.data(), size=st.sampled_from(SIZES))
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_of_any_row_is_mended(logs: dict[int, Home], size: int, data: st.DataObject) -> None:
    home = logs[size]
    before = rows(home)
    place = data.draw(st.integers(0, size - 1))
    id_, _, body = before[place]
    harmed = flip(body, data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7)))
    with home.database.begin() as connection:
        store.mend_row(connection, id_, harmed)
    found = round_of(home)
    assert found == Found([Mended("row", f"entry {place}", "altered")], [])
    assert rows(home) == before


def test_faults_in_several_places_at_once_are_mended(any_home: Home) -> None:
    home = grown(any_home, 300, 600, 700)
    before = objects(home), rows(home)
    tile = before[0]["ledger/tile/0/000"]
    bundle = before[0]["ledger/tile/entries/000"]
    assert tile is not None
    assert bundle is not None
    home.objects.put("ledger/tile/0/000", flip(tile, 77))
    home.objects.put("ledger/tile/entries/000", flip(bundle, 40))  # in the first entry, and a row of another entry
    with home.database.begin() as connection:
        store.mend_row(connection, before[1][200][0], flip(before[1][200][2], 3))
    # The tile of hashes has two copies below it that are each wrong somewhere: it cannot be made again yet.
    problem = "ledger/tile/0/000 is not what was signed, and nothing below it is."
    assert round_of(home) == Found([], [problem])
    home.objects.put("ledger/tile/0/000", tile)
    again = round_of(home)
    assert again.problems == []
    assert sorted(each.name for each in again.mended) == ["entry 200", "ledger/tile/entries/000"]
    assert (objects(home), rows(home)) == before
    assert verify_all(home.database, home.objects, home.keys).problems == []


def test_what_was_altered_everywhere_is_reported_and_not_touched(home: Home) -> None:
    grown(home, 300)
    good = rows(home)[4]
    bundle = home.objects.get("ledger/tile/entries/000")
    assert bundle is not None
    forged = good[2].replace(b"infer", b"embed")
    home.objects.put("ledger/tile/entries/000", bundle.replace(good[2], forged))
    with home.database.begin() as connection:
        store.mend_row(connection, good[0], forged)
    before = objects(home), rows(home)
    for _ in range(2):
        found = round_of(home)
        assert (found.mended, len(found.problems)) == ([], 1)
        assert "neither its bundle nor its row" in found.problems[0] or "nothing below it" in found.problems[0]
    assert (objects(home), rows(home)) == before


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM entry WHERE id = 101",
        "DELETE FROM entry WHERE id = 256",
        "DELETE FROM entry WHERE id = 300",
        "UPDATE entry SET id = 100000 WHERE id = 101",
    ],
)
def test_rows_that_are_shifted_are_not_written_over(home: Home, harm: str) -> None:
    grown(home, 300)
    with home.database.begin() as connection:
        connection.execute(text(harm))
    before = rows(home)
    found = round_of(home)
    assert found.mended == []
    assert any("A row of `entry` is missing, or one too many" in each for each in found.problems)
    assert rows(home) == before


def test_an_altered_checkpoint_row_is_said(home: Home) -> None:
    grown(home, 300)
    with home.database.begin() as connection:
        connection.execute(text("UPDATE checkpoint SET last_entry = last_entry, root = zeroblob(32)"))
    with pytest.raises(LedgerError, match="not what its signed note says"):
        scrubber(home).step()


def test_a_content_that_was_altered_is_reported(home: Home) -> None:
    one, _ = with_content(home)
    assert round_of(home).problems == []
    with home.database.begin() as connection:
        connection.execute(text("UPDATE content SET sealed = zeroblob(99) WHERE part = 'prompt'"))
    scrub = scrubber(home)
    found = [problem for _ in range(3) for problem in scrub.step().problems]
    assert found
    assert all(each.startswith(f"Content of decision {one.id}, prompt:") for each in found)


def test_a_log_that_grows_meanwhile_is_never_mended(home: Home) -> None:
    sequencer, scrub = home.sequencer(), scrubber(home)
    for _ in range(40):
        home.write(requests(37))
        sequencer.run_once()
        assert scrub.step() == Found([], [])
    assert len(outsider.verify_log(home.fetch, home.keys.vkey)) == 40 * 37


def test_partial_tiles_of_smaller_sizes_are_looked_at_too(home: Home) -> None:
    grown(home, 5, 260, 270, 300)
    before = objects(home)
    harmed = ["ledger/tile/0/001.p/4", "ledger/tile/entries/001.p/14"]
    for path in harmed:
        data = before[path]
        assert data is not None
        home.objects.put(path, flip(data, 3))
    scrub = scrubber(home)
    mended = [each.name for _ in range(20) for each in scrub.step().mended]
    assert sorted(mended) == harmed
    assert objects(home) == before


def test_another_process_goes_on_where_one_was(any_home: Home, tmp_path: Path) -> None:
    home = grown(any_home, 600)
    first = scrubber(home)
    first.step()
    first.remember()
    tile = home.objects.get("ledger/tile/entries/001")
    assert tile is not None
    home.objects.put("ledger/tile/entries/001", flip(tile, 9))
    assert scrubber(home).step().mended == [Mended("tile", "ledger/tile/entries/001", "altered")]
    last = scrubber(home)
    for _ in range(3):
        assert last.step() == Found([], [])
    last.remember()
    # A log that is smaller than that, as after a restore, is begun anew.
    with home.database.begin() as connection:
        store.put_scrubbed(connection, 10_000)
    assert scrubber(home).step() == Found([], [])
    one = decision(NOW)
    home.write([one, outcome(one)])
