import pytest
from tests.policy.asking import DOOR, caller, model
from tests.policy.conftest import Load

from transom.policy.explain import explain, refusal
from transom.values import Context

OWN = """
// Staff may use models.
@id("staff") @safeguards("secrets") @retain("30d") @record("commitment")
permit (principal in Group::"staff", action == Action::"infer", resource);

@id("no-hosted")
forbid (principal, action, resource is Model) when { resource.rung == 1 };

// Not while it overflows.
@id("fails")
permit (principal, action, resource is Model) when { resource.rung > 2 && 4611686018427387904 * resource.rung > 0 };
"""


def test_a_permit_in_words(load: Load) -> None:
    policies = load(OWN)
    ruling = policies.rule(caller("staff"), "infer", model("internal"), Context())
    assert explain(ruling, policies) == (
        "Permitted by policy `staff` (policies/own.cedar:3) “Staff may use models”. "
        "It obliges: safeguards secrets; content kept for 30 days; content not kept, only committed to."
    )
    assert explain(ruling).startswith("Permitted by policy `staff`. It obliges")


def test_a_forbid_in_words(load: Load) -> None:
    policies = load(OWN)
    ruling = policies.rule(caller("staff"), "infer", model("hosted"), Context())
    assert explain(ruling, policies) == "Refused: policy `no-hosted` (policies/own.cedar:6) forbids it."
    assert refusal(ruling, policies, caller("staff"), "infer", model("hosted")) == (
        "policy `no-hosted` (policies/own.cedar:6) forbids infer on closed@2."
    )


def test_what_nothing_permits_in_words(load: Load) -> None:
    policies = load(OWN)
    ruling = policies.rule(caller(), "view_console", DOOR, Context())
    assert explain(ruling, policies) == "Refused: no policy permits it."
    assert refusal(ruling, policies, caller("a", "b"), "view_console", DOOR) == (
        "no policy permits view_console for groups a, b."
    )
    assert refusal(ruling, policies, caller(), "infer", model()) == (
        "no policy permits infer on closed@2 for a caller in no group."
    )


def test_a_failed_policy_in_words(load: Load) -> None:
    policies = load(OWN)
    ruling = policies.rule(caller("staff"), "infer", model("fully-open"), Context())
    assert explain(ruling, policies) == (
        "Refused: policy `fails` (policies/own.cedar:10) could not be evaluated, so it is not permitted."
    )
    assert refusal(ruling, policies, caller(), "infer", model()) == (
        "policy `fails` (policies/own.cedar:10) could not be evaluated, so infer on closed@2 is not permitted."
    )


def test_places_are_only_given_by_the_set_that_ruled(load: Load) -> None:
    ruling = load(OWN).rule(caller("staff"), "infer", model("hosted"), Context())
    later = load("\n" + OWN)
    assert explain(ruling, later) == "Refused: policy `no-hosted` forbids it."


def test_a_caller_is_not_shown_comments(load: Load) -> None:
    policies = load('// Since the incident with Bob.\n@id("x") forbid (principal, action, resource);')
    ruling = policies.rule(caller(), "view_console", DOOR, Context())
    assert "Bob" in explain(ruling, policies)
    assert "Bob" not in refusal(ruling, policies, caller(), "view_console", DOOR)


@pytest.mark.parametrize(
    ("retain", "says"),
    [("1d", "1 day"), ("36h", "36 hours"), ("90s", "90 seconds"), ("2m", "2 minutes"), ("2w", "14 days")],
)
def test_a_retention_in_words(load: Load, retain: str, says: str) -> None:
    policies = load(f'@id("x") @retain("{retain}") permit (principal, action, resource);')
    ruling = policies.rule(caller(), "view_console", DOOR, Context())
    assert explain(ruling, policies).endswith(f"content kept for {says}.")


def test_safeguards_alone_in_words(load: Load) -> None:
    policies = load('@id("x") @safeguards("pii, secrets") permit (principal, action, resource);')
    ruling = policies.rule(caller(), "view_console", DOOR, Context())
    assert explain(ruling).endswith("It obliges: safeguards pii, secrets.")
