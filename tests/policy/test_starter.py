"""What the shipped set says, asked of every group and action."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.asking import DOOR, caller, model
from tests.policy.conftest import MODELS, SAFEGUARDS

from transom.policy.reload import load_policies
from transom.policy.ruling import Policies
from transom.policy.vocabulary import ACTIONS, starter_files
from transom.values import OPENNESS, RUNGS, Context, KeyContext, Openness, Resource, Rung

ON_MODELS = ("infer", "embed", "view_model", "download_weights")
READING = ("read_budgets", "read_content", "read_decisions", "read_ledger", "read_metrics", "read_receipt")
USES = ("infer", "embed", "view_model")
EVERYBODY = (("operators",), ("auditors",), ("developers",), ("students",), ("monitors",), ())


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    folder = tmp_path_factory.mktemp("home") / "policies"
    folder.mkdir()
    for name, text in starter_files().items():
        (folder / name).write_text(text)
    return load_policies(folder, MODELS, safeguards=SAFEGUARDS)


def permits(
    policies: Policies,
    group: tuple[str, ...],
    action: str,
    resource: Resource,
    *,
    loopback: bool = False,
    own: bool = False,
) -> bool:
    context = KeyContext(loopback=loopback) if action == "issue_key" else Context(loopback=loopback, own=own)
    return policies.rule(caller(*group), action, resource, context).effect == "permit"


@pytest.mark.parametrize(
    ("group", "may"),
    [
        ("operators", set(ACTIONS) - set(ON_MODELS)),
        ("auditors", {"list_models", "view_console", "export_decisions", "witness", *READING}),
        ("reviewers", {"read_ledger", "view_console", "witness"}),
        ("developers", {"list_models", "read_ledger", "witness"}),
        ("students", {"list_models", "read_ledger", "witness"}),
        ("monitors", {"read_ledger", "read_metrics", "witness"}),
        ("strangers", {"read_ledger", "witness"}),
    ],
)
def test_what_each_group_may_do_at_the_door(starter: Policies, group: str, may: set[str]) -> None:
    found = {action for action in ACTIONS if action not in ON_MODELS and permits(starter, (group,), action, DOOR)}
    assert found == may


def test_only_operators_and_auditors_read_any_content(starter: Policies) -> None:
    found = [group for group in EVERYBODY if permits(starter, group, "read_content", DOOR)]
    assert found == [("operators",), ("auditors",)]


def test_everyone_has_the_receipts_of_their_own(starter: Policies) -> None:
    for group in EVERYBODY:
        whose = (permits(starter, group, "read_receipt", DOOR, own=own) for own in (True, False))
        assert tuple(whose) == (True, group[:1] in (("operators",), ("auditors",)))


@given(rung=st.sampled_from(RUNGS), openness=st.sampled_from(OPENNESS), action=st.sampled_from(ON_MODELS))
def test_who_may_use_which_models(starter: Policies, rung: Rung, openness: Openness, action: str) -> None:
    resource, step = model(rung, openness), RUNGS.index(rung)
    is_open = openness in {"open-weights", "open-source"}
    assert permits(starter, ("operators",), action, resource) == (action in USES or step >= 3)
    assert permits(starter, ("developers",), action, resource) == (action in USES and step >= 2)
    assert permits(starter, ("students",), action, resource) == (action in USES and step >= 2 and is_open)
    assert permits(starter, ("auditors",), action, resource) == (action == "view_model" and step >= 1)
    assert not permits(starter, ("monitors",), action, resource)
    assert not permits(starter, (), action, resource)


@given(
    groups=st.sets(st.sampled_from([group for each in EVERYBODY for group in each])),
    rung=st.sampled_from(RUNGS[:3]),
    openness=st.sampled_from(OPENNESS),
)
def test_nobody_downloads_closed_weights(starter: Policies, groups: set[str], rung: Rung, openness: Openness) -> None:
    ruling = starter.rule(caller(*sorted(groups)), "download_weights", model(rung, openness), Context())
    assert ruling.effect == "forbid"
    assert "no-closed-weights" in ruling.policies


def test_anyone_on_this_machine_reads_metrics(starter: Policies) -> None:
    assert permits(starter, (), "read_metrics", DOOR, loopback=True)
    assert not permits(starter, (), "read_metrics", DOOR)


@pytest.mark.parametrize("group", ["operators", "developers", "students"])
def test_whoever_is_answered_is_guarded_and_forgotten_in_time(starter: Policies, group: str) -> None:
    ruling = starter.rule(caller(group), "infer", model("api", "open-weights"), Context())
    assert ruling.obligations.safeguards == ("secrets",)
    assert ruling.obligations.retain_seconds == 30 * 86_400


def test_a_person_reads_it_in_a_minute(starter: Policies) -> None:
    text = "\n".join(starter_files().values())
    assert len(text.split()) < 450  # half of them are of Cedar's grammar
    assert all(policy.summary for policy in starter.policies.values())
    assert all(re.fullmatch(r"[a-z-]+", id_) for id_ in starter.policies)
