from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.asking import DOOR, caller, model
from tests.policy.conftest import Load

from transom.config.digest import digest
from transom.errors import TransomError
from transom.policy import ruling as module
from transom.policy.reload import load_policies
from transom.policy.ruling import Policies, combine
from transom.policy.vocabulary import SCHEMA
from transom.values import Context, Digest, Obligations, Resource

OWN = """
@id("b-open") @safeguards("secrets, pii") @retain("30d")
permit (principal, action == Action::"infer", resource) when { resource.open };
@id("a-staff") @safeguards("secrets") @retain("1d") @record("commitment")
permit (principal in Group::"staff", action in [Action::"infer", Action::"embed"], resource);
@id("c-me")
permit (principal == Caller::"key_1", action == Action::"embed", resource);
@id("no-streams")
forbid (principal, action, resource) when { context.stream };
@id("no-hosted")
forbid (principal, action, resource is Model) when { resource.rung == 1 };
"""


def test_a_permit_names_its_permits_sorted_and_joins_their_obligations(load: Load) -> None:
    policies = load(OWN)
    ruling = policies.rule(caller("staff"), "infer", model(openness="open-weights"), Context())
    assert (ruling.effect, ruling.policies, ruling.digest) == ("permit", ("a-staff", "b-open"), policies.digest)
    assert ruling.obligations == Obligations(("pii", "secrets"), 86_400, "commitment")


def test_a_permit_without_annotations_obliges_to_nothing(load: Load) -> None:
    assert load(OWN).rule(caller(), "embed", model(), Context()).obligations == Obligations()


def test_a_forbid_beats_permits_and_names_only_forbids(load: Load) -> None:
    ruling = load(OWN).rule(caller("staff"), "infer", model("hosted"), Context(stream=True))
    assert (ruling.effect, ruling.policies, ruling.obligations) == (
        "forbid",
        ("no-hosted", "no-streams"),
        Obligations(),
    )


def test_nothing_is_permitted_unless_a_policy_permits_it(load: Load) -> None:
    ruling = load(OWN).rule(caller("staff"), "view_console", DOOR, Context())
    assert (ruling.effect, ruling.policies) == ("forbid", ())


@pytest.mark.parametrize(
    ("condition", "asks"),
    [
        ("context.stream && context.loopback", False),
        ('resource.regions.contains("eu")', False),
        ('context.region == "eu"', True),
        ('context["region"] == "eu"', True),
        ('!(context.stream && context.region like "e*")', True),
        ("context has region", True),
    ],
)
def test_it_is_known_whether_a_ruling_may_differ_between_regions(tmp_path: Path, condition: str, *, asks: bool) -> None:
    (tmp_path / "own.cedar").write_text(
        f'@id("x") permit (principal, action == Action::"infer", resource) when {{ {condition} }};'
    )
    policies = load_policies(tmp_path, frozenset(), safeguards=frozenset(), regions=frozenset({"eu"}))
    assert policies.ask_region is asks


OVERFLOW = "resource.rung * 9223372036854775807 > 0"


FAILS = f'@id("fails") permit (principal, action, resource is Model) when {{ {OVERFLOW} }};'
FORBIDS = '@id("x") forbid (principal, action, resource is Model);'


@pytest.mark.parametrize(
    ("failing", "decided"),
    [
        (FAILS, ("error:fails",)),
        (FAILS.replace("permit", "forbid"), ("error:fails",)),
        (FAILS + FORBIDS, ("error:fails", "x")),
    ],
)
def test_a_policy_that_cannot_be_evaluated_forbids(load: Load, failing: str, decided: tuple[str, ...]) -> None:
    ruling = load(OWN + failing).rule(caller("staff"), "infer", model("fully-open"), Context())
    assert (ruling.effect, ruling.policies, ruling.obligations) == ("forbid", decided, Obligations())


def test_a_request_outside_the_schema_is_refused_loudly(load: Load) -> None:
    policies = load(OWN)
    with pytest.raises(TransomError, match="cannot rule on infer of Door"):
        policies.rule(caller(), "infer", DOOR, Context())
    with pytest.raises(TransomError, match="cannot rule on Model closed@2"):
        policies.rule(caller(), "infer", Resource("Model", "closed@2", {"rung": 1}, Digest("x")), Context())


def test_what_ruled_can_be_kept_under_its_digests(load: Load) -> None:
    policies = load(a=OWN, b="// nothing\n")
    assert digest(policies.source) == policies.digest
    assert all(digest(text.encode()) == key for key, text in policies.texts.items())
    assert list(policies.files) == ["policies/a.cedar", "policies/b.cedar"]
    assert {policies.texts[each] for each in policies.files.values()} == {OWN, "// nothing\n"}
    assert SCHEMA in policies.texts.values()
    assert load(a=OWN + "\n", b="// nothing\n").digest != policies.digest


def test_a_set_does_not_change() -> None:
    policies = Policies((), {})
    for mapping in (policies.policies, policies.files, policies.texts):
        assert isinstance(mapping, Mapping)
        with pytest.raises(TypeError, match="item assignment"):
            mapping["x"] = "y"  # type: ignore[index]


groups = st.lists(st.sampled_from(["staff", "others"]), unique=True, max_size=2)
resources = st.builds(
    model,
    st.sampled_from(["hosted", "api", "fully-open"]),
    st.sampled_from(["open-weights", "api-only"]),
    name=st.sampled_from(["open@1", "closed@2"]),
)
contexts = st.builds(Context, stream=st.booleans(), loopback=st.booleans())
asked = st.tuples(
    st.sampled_from(["key_1", "key_2"]), groups, st.sampled_from(["infer", "embed", "view_model"]), resources, contexts
)


@given(requests=st.lists(asked, max_size=12), generation=st.integers(1, 4))
def test_a_remembered_ruling_is_the_one_cedar_gives(
    shared: Policies, requests: list[tuple[str, list[str], str, Resource, Context]], generation: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GENERATION", generation)
        for id_, named, action, resource, context in requests:
            who = caller(*named, id_=id_)
            assert shared.rule(who, action, resource, context) == shared.evaluate(who, action, resource, context)


@given(first=resources, second=resources)
def test_two_resources_with_one_id_and_other_digests_never_share(
    shared: Policies, first: Resource, second: Resource
) -> None:
    for resource in (first, second):
        ruling = shared.rule(caller(id_="key_2"), "infer", resource, Context())
        assert (ruling.effect == "permit") == (resource.attributes["open"] and resource.attributes["rung"] != 1)


def test_a_remembered_ruling_is_not_asked_for_again(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    policies, count = load(OWN), 0
    evaluate = policies.evaluate

    def counted(*args: object) -> object:
        nonlocal count
        count += 1
        return evaluate(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(policies, "evaluate", counted)
    monkeypatch.setattr(module, "_GENERATION", 4)
    for mark in "abcd" * 3:
        policies.rule(caller(), "infer", model(mark=mark), Context())
    assert count == 4
    for number in range(100):
        policies.rule(caller(), "infer", model(mark=str(number)), Context())
        policies.rule(caller(), "infer", model(mark="a"), Context())
        assert policies.remembered <= 8
    assert count == 104


def test_combining_nothing_obliges_to_nothing() -> None:
    assert combine([]) == Obligations()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "own.cedar").write_text(OWN)
    return load_policies(folder, frozenset(), safeguards=frozenset({"secrets", "pii"}))
