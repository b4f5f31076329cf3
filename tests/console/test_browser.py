"""A real browser, as a person uses it."""

from collections.abc import Iterator

import pytest
from tests.console.browser import Browser
from tests.console.door import Door


@pytest.fixture
def page(chromium: Browser, door: Door) -> Iterator[Browser]:
    chromium.go(f"{door.server.url}/sign-in")
    chromium.command("Network.clearBrowserCookies")
    chromium.complaints()
    chromium.go(f"{door.server.url}/")
    yield chromium
    assert chromium.complaints() == []  # no violation of the content policy, no error of the script


def sign_in(page: Browser, door: Door, name: str) -> None:
    page.write("input[name=key]", door.keys[name].key)
    page.click("button.strong")
    page.wait(lambda: page.script("return document.querySelector('header nav') !== null"), "signed in")


def has(page: Browser, selector: str) -> bool:
    return bool(page.script("return document.querySelector(arguments[0]) !== null", selector))


def test_sign_in_watch_explain_sign_out(page: Browser, door: Door) -> None:
    assert page.url.endswith("/sign-in")
    sign_in(page, door, "omar")
    page.wait(lambda: page.text("#live") == "live", "the stream is open")
    decision = door.chat("dana").decision
    took = page.wait(lambda: has(page, f"#d-{decision}.s-answered"), "the new decision's row")
    assert took < 3
    door.server.logged(decision)
    page.click(f"#d-{decision} .status")
    page.wait(lambda: f"/decisions/{decision}" in page.url, "its explanation")
    assert "verified just now" in page.text("main")
    assert "developers-use-models" in page.text("main")
    assert "not run" in page.text("main")
    assert page.script("return document.cookie") == ""
    (cookie,) = [each for each in page.cookies() if each["name"] == "transom_session"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    page.click(".who button")
    page.wait(lambda: page.url.endswith("/sign-in"), "signed out")
    page.go(f"{door.server.url}/decisions/{decision}")
    assert "/sign-in?next=" in page.url


def test_an_operator_issues_a_key_reads_content_and_revokes_with_confirmation(page: Browser, door: Door) -> None:
    sign_in(page, door, "alice")
    page.go(f"{door.server.url}/keys")
    page.write("input[name=name]", "from a browser")
    page.click("input[value=developers]")
    page.click("form.fields button")
    page.wait(lambda: has(page, "#secret"), "the new key")
    answer = door.server.chat("small", page.text("#secret"), "unmistakable words")
    assert answer.status == 200
    door.server.logged(answer.decision)
    page.go(f"{door.server.url}/decisions/{answer.decision}")
    assert "unmistakable words" not in page.text()
    page.write("input[name=reason]", "audit")
    page.click("form[action$='/content#content'] button")
    page.wait(lambda: "unmistakable words" in page.text(), "what was said")
    page.go(f"{door.server.url}/keys")
    assert not page.script("return document.querySelector('.confirm button.danger').checkVisibility()")
    page.click(".confirm:has(button.danger) summary")
    page.click(".confirm button.danger")
    page.wait(lambda: "is revoked" in page.text(), "revoked")


def test_the_pages_work_without_their_script(page: Browser, door: Door) -> None:
    page.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.go(f"{door.server.url}/sign-in")
        page.write("input[name=key]", door.keys["omar"].key)
        page.click("button.strong")
        page.wait(lambda: "Answers and refusals" in page.text(), "the first page")
        decision = door.chat("dana").decision
        page.go(f"{door.server.url}/")
        assert f"d-{decision}" in page.source()
    finally:
        page.command("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("path", ["/", "/?show=all", "/search?action=infer", "/policies", "/keys", "decision"])
def test_no_page_is_wider_than_the_screen(page: Browser, door: Door, path: str, width: int) -> None:
    sign_in(page, door, "alice")
    if path == "decision":
        path = f"/decisions/{door.chat('dana').decision}"
    page.look(width=width, dark=width == 768)
    page.go(door.server.url + path)
    assert page.script("return document.documentElement.scrollWidth") <= width
