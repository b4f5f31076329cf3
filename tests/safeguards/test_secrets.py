import random
import string
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import Blocked
from transom.safeguards.builtin.secrets import Secrets
from transom.safeguards.interface import Safeguards, SafeguardSettings, refuse_blocked
from transom.values import Call, RequestedModel, Verdict

ALPHABET = string.ascii_letters + string.digits


def body(length: int, alphabet: str = ALPHABET) -> str:
    return "".join(random.Random(length).choices(alphabet, k=length))


SECRETS = {
    "sk-" + body(48): "an OpenAI or Anthropic key",
    "sk-proj-" + body(60): "an OpenAI or Anthropic key",
    "sk-ant-" + body(60): "an OpenAI or Anthropic key",
    "ghp_" + body(36): "a GitHub token",
    "ghs_" + body(36): "a GitHub token",
    "github_pat_" + body(80): "a GitHub token",
    "glpat-" + body(20): "a GitLab token",
    "hf_" + body(34): "a Hugging Face token",
    "AKIA" + body(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"): "an AWS access key",
    "AIza" + body(35): "a Google API key",
    "xoxb-" + body(40): "a Slack token",
    "sk_live_" + body(24): "a Stripe key",
    "tr_" + body(43): "a Transom key",
    "-----BEGIN RSA PRIVATE KEY-----": "a private key",
    "-----BEGIN PRIVATE KEY-----": "a private key",
}
AROUND = st.text(st.characters(exclude_characters=ALPHABET + "_-=", exclude_categories=["L", "N", "Cs"]), max_size=20)


@given(st.sampled_from(sorted(SECRETS)), AROUND, AROUND, st.integers(0, 2))
def test_a_secret_is_found_where_it_stands(secret: str, before: str, after: str, index: int) -> None:
    texts = ["nothing here"] * 3
    texts[index] = before + secret + after
    (finding,) = Secrets().find(tuple(texts))
    assert (finding.safeguard, finding.kind, finding.text) == ("secrets", SECRETS[secret], index)
    assert texts[index][finding.start : finding.end] == secret


@pytest.mark.parametrize(
    "text",
    [
        "sk-",
        "sk-short",
        "task-" + body(48),
        "the ghp_ prefix",
        "x" + "ghp_" + body(36),
        "AKIA1234",
        "hf_hub",
        "BEGIN PRIVATE KEY",
    ],
)
def test_what_only_looks_alike_is_no_secret(text: str) -> None:
    assert Secrets().find((text,)) == ()


def test_every_secret_is_counted() -> None:
    text = " ".join(sorted(SECRETS))
    assert sorted(finding.kind for finding in Secrets().find((text,))) == sorted(SECRETS.values())


def call(*texts: str) -> Call:
    return Call("infer", RequestedModel("m"), stream=False, body=b"", texts=texts)


@pytest.mark.parametrize("said", ["flag", "block"])
def test_a_verdict_says_what_was_scanned(said: Literal["flag", "block"]) -> None:
    safeguards = Safeguards((Secrets(),), {"secrets": SafeguardSettings(said)})
    (found,) = safeguards.check_prompt(("secrets",), call("é", "ghp_" + body(36)))
    assert (found.verdict, found.bytes_scanned, len(found.findings)) == (said, 42, 1)
    (clean,) = safeguards.check_prompt(("secrets",), call("fine"))
    assert (clean.verdict, clean.findings, clean.bytes_scanned) == ("pass", (), 4)
    refuse_blocked((clean,))
    if said == "flag":
        refuse_blocked((found,))
    else:
        with pytest.raises(Blocked, match="`secrets` found a GitHub token") as raised:
            refuse_blocked((found,))
        assert body(36) not in raised.value.message


def test_what_did_not_run_refuses() -> None:
    verdicts = Safeguards((), {}).check_prompt(("secrets",), call("fine"))
    assert verdicts[0].verdict == "not run"
    with pytest.raises(Blocked) as raised:
        refuse_blocked(verdicts)
    assert raised.value.code == "safeguard_not_run"
    assert Safeguards((Secrets(),), {"secrets": SafeguardSettings()}).skip_answer(("secrets",)) == (
        Verdict("secrets", "answer", "not run", (), 0, "answers are not checked"),
    )


def test_the_digest_is_of_what_is_in_force() -> None:
    one = Safeguards((Secrets(),), {"secrets": SafeguardSettings("block")})
    two = Safeguards((Secrets(),), {"secrets": SafeguardSettings("flag")})
    assert one.digest != two.digest
    assert one.names == {"secrets"}
