"""What pages say, to whom."""

from pathlib import Path
from urllib.parse import quote

import pytest
from tests.console.door import Door, open_door
from tests.support.server import Answer
from tests.support.upstream import Upstream

from transom.ledger.entry import encode
from transom.ledger.note import parse_vkey
from transom.ledger.proof import parse_proof, verify_proof


@pytest.fixture(scope="session")
def answered(door: Door) -> Answer:
    answer = door.chat("sam", text="unmistakable words")
    assert answer.status == 200
    door.server.logged(answer.decision)
    return answer


def test_the_first_page_shows_models_decisions_and_the_door(door: Door) -> None:
    answered = door.chat("sam")
    page = door.sign_in("omar").get("/").text
    for said in ("small@1", "rung 5 of 6: downloadable", "open weights", "Apache-2.0", "An Institute"):
        assert said in page
    assert f'id="d-{answered.decision}"' in page
    for said in (">sam<", "students-use-open-models", "ready", "transom.local/ledger+"):
        assert said in page
    assert "internal-models-are-for-operators" not in page
    assert "draft@1" not in page  # auditors may not view internal models
    assert "draft@1" in door.sign_in("alice").get("/").text


def test_the_default_list_is_answers_and_refusals(door: Door) -> None:
    visitor = door.sign_in("omar")
    looked = visitor.get("/policies").headers["transom-decision"]
    refused = visitor.get("/keys").headers["transom-decision"]
    assert f"d-{looked}" not in visitor.get("/").text
    assert f"d-{looked}" in visitor.get("/?show=all").text
    assert f"d-{refused}" in visitor.get("/").text


def test_older_pages_go_on_where_the_page_before_ended(door: Door) -> None:
    visitor = door.sign_in("omar")
    asked = [door.chat("dana").decision for _ in range(53)]
    first = visitor.get("/").text
    assert first.count('<tr id="d-') == 50
    older = first.partition('href="/?before=')[2].partition('"')[0]
    second = visitor.get(f"/?before={older}").text
    shown = {id_ for id_ in asked if f"d-{id_}" in first}
    assert shown.isdisjoint(id_ for id_ in asked if f"d-{id_}" in second)
    assert shown | {id_ for id_ in asked if f"d-{id_}" in second} == set(asked)
    assert "data-events" not in second


def test_an_explanation_tells_the_story_with_its_proof(door: Door, answered: Answer) -> None:
    visitor = door.sign_in("omar")
    page = visitor.get(f"/decisions/{answered.decision}").text
    for said in ("The story", "/policies#policy-students-use-open-models", "not run", "verified just now", "tokens"):
        assert said in page
    assert "unmistakable words" not in page
    assert "Why you look, in a word" in page
    story = door.server.story(answered.decision)
    vkey = visitor.get("/").text.partition('<code class="wrap">')[2].partition("<")[0]
    for name, entry in (("decision", story.decision), ("outcome", story.outcome)):
        assert entry is not None
        file = visitor.get(f"/decisions/{answered.decision}/{name}.tlog-proof")
        assert f"{answered.decision}.{name}.tlog-proof" in file.headers["content-disposition"]
        assert verify_proof(parse_proof(file.text), encode(entry), parse_vkey(vkey)).size > 0


def test_content_is_for_those_whom_policy_lets_and_on_record(door: Door, answered: Answer) -> None:
    path = f"/decisions/{answered.decision}/content"
    visitor = door.sign_in("alice")
    shown = visitor.post(path, {"reason": "audit"})
    assert "unmistakable words" in shown.text
    assert shown.text.count("matches the commitment in the log") == 2
    story = door.server.story(shown.headers["transom-decision"])
    assert (story.caller, story.decision.action) == ("alice", "read_content")


def test_an_unknown_decision_is_a_page_that_says_so(door: Door) -> None:
    page = door.sign_in("omar").get("/decisions/nope")
    assert page.status == 404
    assert "No decision has the id" in page.text


def test_every_policy_stands_under_its_anchor(door: Door) -> None:
    page = door.sign_in("omar").get("/policies").text
    assert 'id="policy-no-closed-weights"' in page
    assert "download_weights" in page


def test_auditors_see_no_way_to_keys_and_find_none(door: Door) -> None:
    visitor = door.sign_in("omar")
    assert 'href="/keys"' not in visitor.get("/").text
    for answer in (
        visitor.get("/keys"),
        visitor.post("/keys", {"name": "mine", "groups": "operators"}),
        visitor.post(f"/keys/{door.keys['sam'].id}/revoke", {}),
    ):
        assert answer.status == 403
        assert "no policy permits manage_keys" in answer.text
    assert door.chat("sam").status == 200


def test_a_key_is_issued_shown_once_and_revoked(door: Door) -> None:
    visitor = door.sign_in("alice")
    page = visitor.post("/keys", {"name": "night shift", "group": "students", "expires": "2d"}).text
    key = page.partition('id="secret">')[2].partition("<")[0]
    assert door.server.get("/v1/models", key).status == 200
    assert key not in visitor.get("/keys").text
    id_ = next(
        each["id"] for each in door.api("alice", "GET", "/api/keys").json["keys"] if each["name"] == "night shift"
    )
    assert "is revoked" in visitor.post(f"/keys/{id_}/revoke", {}).text
    assert door.server.get("/v1/models", key).status == 401


def test_a_machines_key_is_bounded_listed_apart_and_rotated(door: Door) -> None:
    visitor = door.sign_in("alice")
    fields = {"name": "nightly", "groups": "students, developers", "models": "small", "networks": "127.0.0.1, ::1"}
    page = visitor.post("/keys", fields | {"service": "yes"}).text
    old = page.partition('id="secret">')[2].partition("<")[0]
    (key,) = (each for each in door.api("alice", "GET", "/api/keys").json["keys"] if each["name"] == "nightly")
    assert (key["service"], key["models"], key["networks"]) == (True, ["small"], ["127.0.0.1/32", "::1/128"])
    listed = visitor.get("/keys").text
    assert listed.index(">Services<") < listed.index(key["id"])
    assert "small, 127.0.0.1/32, ::1/128" in listed
    turned = visitor.post(f"/keys/{key['id']}/rotate", {"overlap": "1h"}).text
    new = turned.partition('id="secret">')[2].partition("<")[0]
    assert "the old secret opens until" in turned
    assert [door.server.chat("small", each).status for each in (old, new)] == [200, 200]
    visitor.post(f"/keys/{key['id']}/rotate", {"overlap": "none"})
    assert [door.server.chat("small", each).status for each in (old, new)] == [401, 401]
    assert visitor.post(f"/keys/{key['id']}/rotate", {"overlap": "x"}).status == 400


def test_a_session_ends_with_the_secret_that_opened_it(door: Door) -> None:
    door.keys["turner"] = door.server.issue("turner", "operators")
    visitor, id_ = door.sign_in("turner"), door.keys["turner"].id
    assert door.api("alice", "POST", f"/api/keys/{id_}/rotate", {"overlap": "1h"}).status == 200
    assert visitor.get("/keys").status == 200
    assert door.api("alice", "POST", f"/api/keys/{id_}/rotate", {"overlap": "1h"}).status == 200
    ended = visitor.get("/keys")
    assert (ended.status, "This key is replaced" in ended.text) == (401, True)
    del door.keys["turner"]


def test_whoever_revokes_their_own_key_is_signed_out(door: Door) -> None:
    door.keys["brief"] = door.server.issue("brief", "operators")
    visitor = door.sign_in("brief")
    answer = visitor.post(f"/keys/{door.keys['brief'].id}/revoke", {})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert "max-age=0" in answer.cookie("transom_session").lower()
    assert door.server.get("/v1/models", door.keys.pop("brief").key).status == 401


def test_an_empty_door_says_what_to_do_and_a_broken_file_is_shown(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream) as door:
        visitor = door.sign_in("alice")
        page = visitor.get("/").text
        assert "Nothing has been asked yet" in page
        assert f"curl {door.server.url}/v1/chat/completions" in page
        sound = (door.server.home.policies / "starter.cedar").read_text()
        door.server.write_policies(sound + "\npermit (principal, acton, resource);\n")
        refused = door.api("alice", "POST", "/api/reload")
        assert refused.status == 400
        (problem,) = refused.json["error"]["problems"]
        assert (problem["file"], problem["line"], problem["column"]) == (
            "policies/starter.cedar",
            sound.count("\n") + 2,
            20,
        )
        page = visitor.get("/").text
        assert "The files on disk are broken" in page
        assert "policies/starter.cedar:" in page
        door.server.write_policies(sound + "\n// sound again\n")
        taken = door.api("alice", "POST", "/api/reload")
        assert (taken.status, taken.json["policies"][:7]) == (200, "sha256:")
        assert "broken" not in visitor.get("/").text


def test_markup_in_names_is_text(tmp_path: Path, upstream: Upstream) -> None:
    """Names that callers and operators choose, and what models say, never become markup."""
    mark = "<img/src=x/onerror=document.title='owned'>"
    more = f"""
[models."{mark}"]
route = ["near"]
description = "{mark}"
"""
    with open_door(tmp_path / "home", upstream, more) as door:
        visitor = door.sign_in("alice")
        made = visitor.post("/keys", {"name": f"{mark}", "group": "developers"}).text
        assert mark not in made
        key = made.partition('id="secret">')[2].partition("<")[0]
        answer = door.server.chat(mark, key, f"{mark} </pre><script>1</script>")
        door.server.logged(answer.decision)
        paths = ("/", "/?show=all", "/keys", f"/decisions/{answer.decision}", f"/search?caller={quote(mark, safe='')}")
        visitor.post(f"/decisions/{answer.decision}/content", {"reason": "audit", "note": mark})
        for path in (*paths, f"/decisions/{quote(mark, safe='')}", f"/{quote(mark, safe='')}"):
            page = door.ask("GET", path, {"cookie": f"transom_session={visitor.session}", "accept": "text/html"})
            assert mark not in page.text, path
            assert "<script>1" not in page.text, path
        assert "&lt;img" in visitor.get("/").text


LIMITS = """
[[limits]]
name = "sams-share"
group = "students"
money = { amount = "0.01", currency = "USD", per = "total" }
warn_at = ["0.0001"]
"""


def test_budgets_are_shown_with_what_is_spent_and_to_whom(tmp_path: Path, upstream: Upstream) -> None:
    with open_door(tmp_path / "home", upstream, LIMITS) as door:
        visitor = door.sign_in("omar")
        assert "Nothing is spent or held yet of: <b>sams-share</b>" in visitor.get("/budgets").text
        spent = door.server.chat("small", door.keys["sam"].key, max_tokens=20)
        assert spent.status == 200
        door.server.outcome(spent.decision)
        page = visitor.get("/budgets").text
        for said in ("sams-share", ">sam<", door.keys["sam"].id, "0.01 USD", "in all", 'class="passed"', "past 0.01 %"):
            assert said in page
        assert door.sign_in("alice").get("/budgets").status == 200
        assert door.send_key(door.keys["dana"].key).status == 403


def test_where_no_budget_is_declared_the_page_says_how(door: Door) -> None:
    assert "No budget is declared" in door.sign_in("omar").get("/budgets").text
