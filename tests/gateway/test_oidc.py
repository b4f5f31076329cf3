"""Tokens of identity providers at the door: who is let in, on whose word, and who no longer is."""

import time
from collections.abc import Iterator

import pytest
from tests.support.doors import MODELS
from tests.support.provider import Provider, rsa, sign
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream

from transom.callers.oidc import caller_id
from transom.ledger.acts import SubjectEntry

WORKERS = 2


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider().serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, provider: Provider, vendor: Upstream) -> Iterator[Server]:
    """A door of two workers that trusts the provider."""
    settings = NO_ENGINE + MODELS.format(url=vendor.url) + provider.settings("jwks_seconds = 0.5")
    with Server(tmp_path_factory.mktemp("oidc") / "home", settings, workers=WORKERS) as server:
        yield server.start()


def refused(door: Server, token: str, code: str, says: str = "") -> None:
    answer = door.chat("open", token)
    assert (answer.status, answer.json["error"]["code"]) == (401, code)
    assert says in answer.json["error"]["message"]
    for part in token.split("."):
        assert len(part) < 8 or part not in answer.text + door.log


def test_a_token_opens_what_its_groups_may(door: Server, provider: Provider) -> None:
    staff = provider.token("ada", "staff", "unheard-of", name="Ada Byron")
    answer = door.chat("closed", staff)
    assert answer.status == 200
    assert door.chat("closed", provider.token("eve", "learners")).json["error"]["code"] == "policy_forbids"
    assert door.chat("open", provider.token("eve", "unheard-of")).status == 403
    assert door.get("/api/status", provider.token("boss", "heads")).status == 200
    story = door.story(answer.decision)
    with door.stores() as stores:
        assert story.decision.by == stores.keys.pseudonym(caller_id(provider.issuer, "ada"))
    for entry in door.entries():
        assert not any(word in str(entry) for word in ("Ada Byron", "oidc:", provider.issuer))


def test_a_subject_has_the_receipts_of_their_own(door: Server, provider: Provider) -> None:
    """Whichever worker answers, and under whichever of their tokens."""
    decision = door.chat("open", provider.token("ada", "staff")).decision
    for number in range(2 * WORKERS):
        found = door.get(f"/receipts/{decision}", provider.token("ada", "staff", jti=f"{number}"))
        assert found.status == 200
        assert "prompt-salt" in found.text
    assert door.get(f"/receipts/{decision}", provider.token("eve", "staff")).status == 404


def test_one_subject_is_one_caller_whatever_the_token(door: Server, provider: Provider) -> None:
    answers = [door.chat("open", provider.token("same", "staff", jti=f"{number}")) for number in range(2)]
    answers.append(door.chat("open", provider.token("other", "staff")))
    by = [door.story(answer.decision).decision.by for answer in answers]
    assert by[0] == by[1] != by[2]


@pytest.mark.parametrize(
    ("claims", "code", "says"),
    [
        ({"aud": "another"}, "invalid_token", "audience"),
        ({"exp": 1}, "token_expired", "has expired"),
        ({"sub": 7}, "invalid_token", "names no subject"),
        ({"iss": "https://elsewhere.example"}, "invalid_token", "none that this door knows"),
        ({"nbf": time.time() + 900}, "invalid_token", "not valid yet"),
        ({"groups": {"staff": 1}}, "invalid_token", "not a list"),
    ],
)
def test_a_token_that_does_not_say_who_asks_is_refused(
    door: Server, provider: Provider, claims: dict[str, object], code: str, says: str
) -> None:
    refused(door, provider.token("ada", "staff", **claims), code, says)


def test_a_strangers_signature_opens_nothing(door: Server, provider: Provider) -> None:
    refused(door, sign(provider.claims("ada", "heads"), rsa("first")), "invalid_token", "its provider")
    refused(door, "a.b.c", "invalid_token")
    refused(door, "x" * 20_000 + ".b.c", "invalid_token", "longer than")


def test_a_token_ends_when_it_says_although_it_is_remembered(door: Server, provider: Provider) -> None:
    token = provider.token("brief", "staff", exp=time.time() - 28)  # two seconds of the leeway are left
    assert door.chat("open", token).status == 200
    end = time.monotonic() + 20
    while (answer := door.chat("open", token)).status == 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert answer.json["error"]["code"] == "token_expired"


def test_keys_are_taken_up_when_the_provider_changes_them(door: Server, provider: Provider) -> None:
    old = provider.token("ada", "staff")
    assert door.chat("open", old).status == 200
    provider.keys.insert(0, rsa("second"))
    new = provider.token("ada", "staff")
    until_all(door, new, 200)  # at once, unless the provider was asked a moment ago
    assert door.chat("open", old).status == 200
    del provider.keys[1]
    until_all(door, old, 401)  # a key that is gone verifies nothing, not even what it has verified before
    assert door.chat("open", new).status == 200


def test_a_name_that_no_key_has_makes_us_ask_no_oftener(door: Server, provider: Provider) -> None:
    before, began = provider.asked.total(), time.monotonic()
    for _ in range(40):
        refused(door, sign(provider.claims(), rsa_of_nobody), "invalid_token")
    allowed = (time.monotonic() - began) / 0.5 + 1
    assert provider.asked.total() - before <= 2 * WORKERS * allowed


rsa_of_nobody = rsa("nobody")


def test_keys_are_kept_while_the_provider_is_away(door: Server, provider: Provider) -> None:
    until_all(door, provider.token("ada", "staff"), 200)
    provider.up = False
    try:
        time.sleep(0.6)  # the keys are old now, and cannot be renewed
        for number in range(10):
            assert door.chat("open", provider.token(f"new-{number}", "staff")).status == 200
        answer = door.chat("open", sign(provider.claims(), rsa_of_nobody))
        assert (answer.status, answer.json["error"]["code"]) == (503, "identity_provider_unavailable")
        assert answer.headers["retry-after"] == "5"
    finally:
        provider.up = True
    until_all(door, provider.token("ada", "staff"), 200)
    until_all(door, sign(provider.claims(), rsa_of_nobody), 401)  # every worker has asked it again


def test_a_blocked_subject_is_let_in_by_no_worker(door: Server, provider: Provider) -> None:
    mallory, other = provider.token("mallory", "staff"), provider.token("other", "staff")
    assert [door.chat("open", mallory).status for _ in range(6)] == [200] * 6
    done = door.run("callers", "block", provider.issuer, "mallory", "--json")
    assert '"changed": true' in done.stdout
    for _ in range(12):
        answer = door.chat("open", mallory)
        assert (answer.status, answer.json["error"]["code"]) == (401, "caller_blocked")
    assert door.outcome(answer.decision).reason == "caller_blocked"  # known, so refused on the record
    assert door.get("/v1/models", provider.token("mallory", "staff", jti="new")).status == 401
    assert door.chat("open", other).status == 200
    assert "mallory" in door.run("callers", "blocked").stdout
    assert '"changed": false' in door.run("callers", "block", provider.issuer, "mallory", "--json").stdout
    assert "may come in again" in door.run("callers", "unblock", provider.issuer, "mallory").stdout
    assert "was not blocked" in door.run("callers", "unblock", provider.issuer, "mallory").stdout
    until_all(door, mallory, 200)
    events = [entry for entry in door.entries("subject/1") if isinstance(entry, SubjectEntry)]
    assert [entry.event for entry in events] == ["blocked", "unblocked"]
    with door.stores() as stores:
        assert {entry.subject for entry in events} == {stores.keys.pseudonym(caller_id(provider.issuer, "mallory"))}


def test_policies_see_how_a_caller_was_identified(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider, vendor: Upstream
) -> None:
    policies = '@id("tokens") permit (principal, action, resource) when { principal.kind == "oidc" };'
    settings = NO_ENGINE + MODELS.format(url=vendor.url) + provider.settings()
    with Server(tmp_path_factory.mktemp("kinds") / "home", settings, policies=policies) as server:
        server.start()
        assert server.chat("open", provider.token()).status == 200
        assert server.chat("open", server.issue("k", "staff").key).status == 403


def test_a_provider_that_is_another_is_not_believed(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> None:
    with Provider().serving() as wrong:
        document = {"issuer": "https://other.example", "jwks_uri": f"{wrong.issuer}/keys?of=all"}
        wrong.documents["/realm/.well-known/openid-configuration"] = document
        settings = NO_ENGINE + MODELS.format(url=vendor.url) + wrong.settings("jwks_seconds = 0.1")
        with Server(tmp_path_factory.mktemp("wrong") / "home", settings) as server:
            server.start()
            assert server.chat("open", wrong.token()).status == 503
            assert "it says that it is 'https://other.example'" in server.log
            wrong.documents["/realm/.well-known/openid-configuration"] = document | {
                "issuer": wrong.issuer,
                "jwks_uri": "http://192.0.2.1/keys",
            }
            time.sleep(0.2)
            assert server.chat("open", wrong.token()).status == 503  # keys by plain http from elsewhere: never
            wrong.documents.clear()
            until_all(server, wrong.token("ada", "staff"), 200)


def test_the_settings_are_taken_up_while_requests_flow(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider, vendor: Upstream
) -> None:
    plain = NO_ENGINE + MODELS.format(url=vendor.url)
    with Server(tmp_path_factory.mktemp("later") / "home", plain) as server:
        server.start()
        token = provider.token("ada", "staff")
        refused(server, token, "invalid_api_key")
        server.home.settings.write_text(plain + provider.settings())
        until_all(server, token, 200)
        server.home.settings.write_text(plain + provider.settings().replace('staff = "developers"', ""))
        until_all(server, token, 403)
        doubled = provider.settings() * 2 + '[[oidc]]\nissuer = "http://id.example"\naudience = "a"\n'
        server.home.settings.write_text(plain + doubled)
        assert "https://" in server.run("config", "check").stderr
        server.home.settings.write_text(plain + provider.settings() * 2)
        checked = server.run("config", "check")
        assert (checked.returncode, "stands here twice" in checked.stderr) == (1, True)


def until_all(server: Server, token: str, status: int, seconds: float = 15.0) -> None:
    """Wait until every worker (as far as twelve connections in a row meet them all) answers so."""
    end = time.monotonic() + seconds
    while {server.chat("open", token).status for _ in range(12)} != {status}:
        assert time.monotonic() < end, f"not every worker answers {status}"
        time.sleep(0.05)
