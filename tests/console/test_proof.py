"""The page that checks for itself that an entry is in the log, in a real browser: whatever is altered, it says so."""

import base64
from collections.abc import Iterator, Mapping, Sequence

import pytest
from tests.console.browser import Browser
from tests.console.door import Door, open_door
from tests.ledger.making import rotation
from tests.support.upstream import Upstream

from transom.ledger.checkpoint import Checkpoint
from transom.ledger.note import Signer
from transom.ledger.tiles import Tile, pack, tiles_of
from transom.ledger.tree import leaf_hash, root_of

CLOSED = """
@id("operators-everything") permit (principal in Group::"operators", action, resource);
@id("developers-ask") permit (principal in Group::"developers", action == Action::"infer", resource);
@id("auditors-look") permit (
  principal in Group::"auditors",
  action in [Action::"view_console", Action::"read_decisions", Action::"read_ledger"],
  resource
);
@id("students-look-elsewhere") permit (
  principal in Group::"students", action in [Action::"view_console", Action::"read_decisions"], resource
);
"""
ANOTHER = Signer("transom.local/ledger", bytes(32))
ALTER = """
const [within, place, bit] = arguments;
const before = window.fetch;
window.fetch = async (url, how) => {
  const answer = await before(url, how);
  if (!String(url).includes(within) || answer.status !== 200) return answer;
  window.altered = true;
  const bytes = new Uint8Array(await answer.arrayBuffer());
  bytes.set([bytes.at(place) ^ bit], (place + bytes.length) % bytes.length);
  return new Response(bytes);
};
"""
"""What somebody between log and page can do: change a byte of whatever has a path like this."""


@pytest.fixture(scope="module")
def decision(door: Door) -> str:
    """A decision whose entries are in the log."""
    return door.server.logged(door.chat("dana").decision).id


@pytest.fixture
def page(chromium: Browser, door: Door, decision: str) -> Iterator[Browser]:
    """Its page, to an auditor whose browser has never checked anything."""
    open_page(chromium, door, "omar", decision)
    yield chromium
    assert chromium.complaints() == []  # no violation of the content policy, no error of the script


def open_page(chromium: Browser, door: Door, name: str, decision: str) -> None:
    address = f"{door.server.url}/decisions/{decision}"
    chromium.look(width=1440, dark=False)
    chromium.go(address)
    if chromium.url != address or chromium.text(".who b") != name:
        chromium.command("Network.clearBrowserCookies")
        chromium.go(f"{door.server.url}/sign-in")
        chromium.write("input[name=key]", door.keys[name].key)
        chromium.click("button.strong")
        chromium.wait(lambda: chromium.text(".who b") == name, "signed in")
        chromium.go(address)
    chromium.script("localStorage.clear()")
    chromium.complaints()


def check(page: Browser, button: str = "[data-check]") -> str:
    """Press the button; give the word for what came of it: good, bad, or nothing for neither."""
    page.script("document.querySelector('#check [role=status]').textContent = ''")
    page.script("document.querySelector(arguments[0]).click()", button)
    page.wait(lambda: page.text("#check [role=status]") not in ("", "Checking…"), "it is checked")
    return str(page.script("return document.querySelector('#check [role=status]').dataset.state"))


def steps(page: Browser, state: str) -> list[str]:
    found = "return [...document.querySelectorAll('.steps li.' + arguments[0])].map((each) => each.textContent)"
    return list(page.script(found, state))


def test_the_page_checks_both_entries_itself_and_shows_each_step(page: Browser, door: Door) -> None:
    assert check(page) == "good"
    said = "\n".join(steps(page, "ok"))
    assert page.text("#check [role=status]").startswith("Checked here: the decision is entry")
    with door.server.stores() as stores:
        assert [stores.keys.vkey in each for each in steps(page, "note")] == [True]
    for words in ("is signed by it", "The decision shown here", "The outcome shown here", "hashes of the log's tiles"):
        assert words in said, words
    assert steps(page, "bad") == []
    assert "before" not in said
    door.server.logged(door.chat("dana").decision)
    assert check(page) == "good"
    assert "that this browser saw before" in "\n".join(steps(page, "ok"))  # and that the log grew from there


@pytest.mark.parametrize("place", [0, 40, -1])
@pytest.mark.parametrize("within", ["/checkpoint", "/tile/entries/", "/tile/0/"])
def test_a_changed_byte_of_what_the_log_serves_is_seen(page: Browser, within: str, place: int) -> None:
    page.script(ALTER, within, place, 1)
    assert check(page) == "bad"
    assert page.script("return window.altered")
    assert page.text("#check [role=status]") == "Does not verify."
    assert len(steps(page, "bad")) == 1


@pytest.mark.parametrize("entry", ["decision", "outcome"])
def test_a_changed_byte_of_what_the_page_shows_is_seen(page: Browser, entry: str) -> None:
    page.script(
        "const shown = document.querySelector(`pre[data-entry=${arguments[0]}]`);"
        "shown.textContent = shown.textContent.replace('small', 'smalk').replace('answered', 'answerec');",
        entry,
    )
    assert check(page) == "bad"
    assert f"than the {entry} shown here" in steps(page, "bad")[0]


def test_another_place_in_the_log_is_seen(page: Browser) -> None:
    page.script("document.querySelector('pre[data-entry=decision]').dataset.index = '0'")
    assert check(page) == "bad"
    page.script("document.querySelector('pre[data-entry=decision]').dataset.index = '9999999'")
    assert check(page) == "bad"
    assert "does not reach" in steps(page, "bad")[0]


def test_a_pinned_key_is_held_to(page: Browser, door: Door, decision: str) -> None:
    with door.server.stores() as stores:
        vkey = stores.keys.vkey
    page.script("document.querySelector('#check > details').open = true")
    page.script("document.querySelector('#check input').value = arguments[0]", vkey)
    assert check(page, "[data-pin]") == "good"
    page.go(f"{door.server.url}/decisions/{decision}")  # it is kept
    assert check(page) == "good"
    assert vkey in steps(page, "ok")[0]
    # A door that names another key on its page is found out, and so is one that signs with it.
    page.script("document.getElementById('check').dataset.vkey = arguments[0]", ANOTHER.verifier.vkey)
    assert check(page) == "bad"
    assert "names another key" in steps(page, "bad")[0]
    page.script("document.querySelector('#check > details').open = true")
    page.script("document.querySelector('#check input').value = arguments[0]", ANOTHER.verifier.vkey)
    assert check(page, "[data-pin]") == "bad"
    assert any("not signed by this key" in each for each in steps(page, "bad"))
    page.script("document.querySelector('#check input').value = 'log+12345678+AAAA'")
    assert check(page, "[data-pin]") == "bad"
    assert page.text("#check [role=status]") == "The key was not pinned."


@pytest.mark.parametrize(("size", "says"), [(0, "was rewritten"), (10**6, "went back")])
def test_a_log_that_is_not_the_one_seen_before_is_seen(page: Browser, door: Door, size: int, says: str) -> None:
    assert check(page) == "good"
    page.script(
        "const [name] = Object.keys(localStorage).filter((each) => each.startsWith('transom.seen:'));"
        "const kept = JSON.parse(localStorage.getItem(name));"
        "localStorage.setItem(name, JSON.stringify({ size: kept.size - 1 + arguments[0], root: kept.root }));",
        size,
    )
    door.server.logged(door.chat("dana").decision)
    assert check(page) == "bad"
    assert says in steps(page, "bad")[0]


def test_without_ed25519_it_says_that_the_signature_is_not_checked(page: Browser) -> None:
    page.script("crypto.subtle.importKey = async () => { throw new DOMException('x', 'NotSupportedError'); }")
    assert check(page) == ""
    assert "but for the signature" in page.text("#check [role=status]")
    assert len(steps(page, "unknown")) == 1


def test_where_browsers_do_not_compute_it_says_so(page: Browser, door: Door, decision: str) -> None:
    """As on a page that came by plain HTTP from another machine."""
    hide = "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });"
    added = page.command("Page.addScriptToEvaluateOnNewDocument", source=hide)
    try:
        page.go(f"{door.server.url}/decisions/{decision}")
        assert "only on pages that came by https or from this machine" in page.text("#check")
        assert not page.script("return document.querySelector('[data-check]').checkVisibility()")
    finally:
        page.command("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_a_closed_log_is_read_with_the_session(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> None:
    with open_door(tmp_path_factory.mktemp("closed") / "home", upstream, policies=CLOSED) as closed:
        decision = closed.server.logged(closed.chat("dana").decision).id
        assert closed.server.get("/ledger/checkpoint").status == 401
        open_page(chromium, closed, "omar", decision)
        assert check(chromium) == "good"
        assert chromium.complaints() == []
        shown = closed.sign_in("omar").get("/ledger-tiles/checkpoint")
        assert shown.headers["cache-control"] == "private, no-cache"
        story = closed.server.story(shown.decision)
        assert (story.caller, story.decision.action) == ("omar", "read_ledger")
        assert closed.sign_in("omar").get("/ledger-tiles/../checkpoint").status == 404
        assert closed.sign_in("omar").get("/ledger-tiles/tile/9/000").status == 404
        open_page(chromium, closed, "sam", decision)
        assert check(chromium) == "bad"
        assert "403" in steps(chromium, "bad")[0]


def log_of(entries: list[bytes]) -> dict[str, bytes]:
    """Give the tiles and bundles that a log of these entries serves, by path."""
    rows = [[leaf_hash(entry) for entry in entries]]
    while len(rows[-1]) >= 256:
        rows.append([root_of(rows[-1][at : at + 256]) for at in range(0, len(rows[-1]) - 255, 256)])
    served: dict[str, bytes] = {}
    for tile in tiles_of(len(entries)):
        begin = tile.index * 256
        if tile.level is None:
            served[tile.path] = pack(entries[begin : begin + tile.width])
        else:
            served[tile.path] = b"".join(rows[tile.level][begin : begin + tile.width])
    return served


SERVE = """
const [files, checkpoint, entry, index, vkey, signers] = arguments;
const box = document.getElementById("check");
box.dataset.signers = JSON.stringify(signers);
box.dataset.vkey = vkey;
window.fetch = async (url) => {
  const path = String(url).replace("/ledger/", "");
  const found = path === "checkpoint" ? checkpoint : files["ledger/" + path];
  if (found === undefined) return new Response(null, { status: 404 });
  return new Response(Uint8Array.from(atob(found), (character) => character.charCodeAt(0)));
};
const [shown, other] = document.querySelectorAll("pre[data-index]");
shown.textContent = entry;
shown.dataset.index = index;
other?.removeAttribute("data-index");
"""


def serve(
    page: Browser, entries: list[bytes], size: int, index: int, served: Mapping[str, bytes], signers: Sequence[str] = ()
) -> None:
    """Have the page check entry `index` of a log that is signed at `size`."""
    root = root_of([leaf_hash(entry) for entry in entries[:size]])
    note = ANOTHER.sign(Checkpoint(ANOTHER.name, size, root).text).encode()
    files = {path: base64.b64encode(data).decode() for path, data in served.items()}
    checkpoint = base64.b64encode(note).decode()
    page.script(SERVE, files, checkpoint, entries[index].decode(), str(index), ANOTHER.verifier.vkey, list(signers))


def test_logs_of_every_shape(page: Browser) -> None:
    """Each continues the one before, so that what the browser remembers is held against each too."""
    entries = [f"entry {number}".encode() for number in range(65_793)]
    for size in (1, 2, 3, 255, 256, 257, 1_000, 65_536, 65_793):
        served = log_of(entries[:size])
        for index in {0, size // 2, size - 1}:
            near = {path: data for path, data in served.items() if "/entries/" not in path or size < 2_000}
            bundle = Tile(None, index // 256, min(256, size - index // 256 * 256)).path
            serve(page, entries, size, index, near | {bundle: served[bundle]})
            assert check(page) == "good", (size, index, page.text("#check"))
    # Partial tiles that are gone: the full ones have taken their place.
    page.script("localStorage.clear()")
    served = log_of(entries[:2_560])
    serve(
        page,
        entries,
        1_000,
        999,
        {path: data for path, data in served.items() if ".p/" not in path}
        | {Tile(1, 0, 3).path: served[Tile(1, 0, 10).path][: 3 * 32]},
    )
    assert check(page) == "good", page.text("#check")


def test_a_pinned_key_leads_to_those_that_it_endorsed(page: Browser) -> None:
    """The log's key was rotated twice since this browser was given the first one."""
    first, second, stranger = (Signer(ANOTHER.name, bytes([number] * 32)) for number in (1, 2, 3))
    entries = [b"a", b"b", b"c"]
    good = [rotation(first, second), rotation(second, ANOTHER)]
    page.script("localStorage.setItem('transom.pinned', arguments[0])", first.verifier.vkey)
    for signers, word in (
        (good, "good"),
        ([good[1]], "bad"),
        ([rotation(stranger, second), good[1]], "bad"),
        ([good[0], rotation(second, stranger)], "bad"),
    ):
        serve(page, entries, 3, 1, log_of(entries), signers)
        assert check(page) == word, page.text("#check")
    page.script("localStorage.setItem('transom.pinned', arguments[0])", second.verifier.vkey)
    serve(page, entries, 3, 1, log_of(entries), good)
    assert check(page) == "good"


@pytest.mark.parametrize("harm", ["short tile", "long tile", "short bundle", "no tile", "no checkpoint", "cosigned"])
def test_what_is_no_log_is_seen(page: Browser, harm: str) -> None:
    entries = [f"entry {number}".encode() for number in range(300)]
    served = log_of(entries)
    tile, bundle = Tile(0, 1, 44).path, Tile(None, 1, 44).path
    if harm.endswith("tile"):
        changes = {"short": served[tile][:-32], "long": served[tile] + bytes(32), "no": b""}
        served[tile] = changes[harm.removesuffix(" tile")]
    if harm == "short bundle":
        served[bundle] = served[bundle][:-1]
    serve(page, entries, 300, 299, served)
    if harm == "no checkpoint":
        page.script("const before = fetch; window.fetch = (url) => before(String(url).replace('checkpoint', 'x'))")
    if harm == "cosigned":  # by somebody whom this page does not know: no harm
        page.script(
            "const before = fetch; window.fetch = async (url) => { const answer = await before(url);"
            "if (!String(url).endsWith('checkpoint')) return answer;"
            "return new Response((await answer.text()) + '\u2014 witness.example/w AAAAAAAA\\n'); }"
        )
    assert check(page) == ("good" if harm == "cosigned" else "bad"), page.text("#check")
