from pathlib import Path

import pytest
from tests.policy.asking import caller, model
from tests.policy.conftest import MODELS, SAFEGUARDS, Load

from transom.errors import ConfigErrors
from transom.policy.reload import load_policies
from transom.policy.vocabulary import ACTIONS, ATTRIBUTES, TYPES
from transom.values import Context

GOOD = '@id("good") permit (principal, action, resource);'
INFER = '@id("x") permit (principal, action == Action::"infer", resource)'


def problems(load: Load, text: str) -> list[tuple[int | None, int | None, str]]:
    with pytest.raises(ConfigErrors) as caught:
        load(text)
    assert {problem.file for problem in caught.value.problems} == {"policies/own.cedar"}
    return [(problem.line, problem.column, problem.what) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        # Words that are none.
        ('@id("x) permit', 1, 5, 'the text that begins with this " is never closed.'),
        (f"{GOOD}\n  # a comment", 2, 3, "'#' is not a word of the policy language."),
        (f"{GOOD} /* no */", 1, len(GOOD) + 2, "unexpected token `/`."),
        # Words in a wrong place: of one policy, the place; of the rest, nothing.
        (f"{GOOD}\n{INFER}\nwhen {{ resource.rung > }};\n{GOOD}", 3, 24, "unexpected token `}`."),
        (f"{INFER}\nwhen {{ resource.rung >;", 2, 23, "unexpected token `;`."),
        (f"{INFER}\n{GOOD}", 2, 1, "unexpected token `@`."),
        (f"{INFER}\n", 1, len(INFER) + 1, "unexpected end of input."),
        ("permit (principal action, resource);", 1, 19, "unexpected token `action`."),
        # Words that parse and mean nothing.
        ("allow (principal, action, resource);", 1, 1, "invalid policy effect: allow."),
        ("permit (principal, action, resource)\nwhere { true };", 2, 1, "invalid policy condition: where."),
        (f"{INFER} when {{ foo }};", 1, len(INFER) + 9, "invalid variable: foo."),
        (f"{INFER} when {{ resource.rung = 1 }};", 1, len(INFER) + 23, "'=' is not a valid operator in Cedar."),
        (f'{INFER} when {{ "\\q" == "q" }};', 1, len(INFER) + 10, "is not a valid escape."),
        ('@id("a")\n@id("b") permit (principal, action, resource);', 1, 1, "duplicate annotation: @id."),
        # Words that the schema does not know.
        (INFER.replace("infer", "infr") + ";", 1, 39, 'unrecognized action `Action::"infr"`. Did you mean infer?'),
        (
            f"{INFER} when {{ resource.rang > 1 }};",
            1,
            len(INFER) + 18,
            "`rang` on entity type `Model` not found.",
        ),
        (f"{INFER} when {{ context.q }};", 1, len(INFER) + 17, "not found. It may be flagged, groups, kind, licence,"),
        ('@id("x") permit (principal in Grop::"x", action, resource);', 1, 31, "`Grop`. Did you mean Group?"),
        (f'{INFER} when {{ resource.rung == "x" }};', 1, 1, "the types Long and String are not compatible."),
        (f'{INFER} when {{ resource.licence == "x" }};', 1, len(INFER) + 18, "Ask first: resource has licence && …"),
        ('@id("x") permit (principal == Group::"x", action, resource);', 1, 1, "it can match nothing."),
        # What Cedar lets pass.
        ("permit (principal in ?principal, action, resource);", 1, 22, "a template"),
        ("permit (principal, action, resource == ?resource);", 1, 40, "a template"),
        ("permit (principal, action, resource);", 1, 1, "this permit has no @id."),
        ("@id permit (principal, action, resource);", 1, 1, "must be 1 to 64 letters"),
        ('@id("a:b") permit (principal, action, resource);', 1, 1, "must be 1 to 64 letters"),
        ('@id("x") @safeguard("pii") permit (principal, action, resource);', 1, 10, "Did you mean safeguards?"),
        ('@id("x") @safeguards("pii, q") permit (principal, action, resource);', 1, 10, "'q', which is no safeguard."),
        ('@id("x") @retain("30") permit (principal, action, resource);', 1, 10, "'30' is not a length of time."),
        ('@id("x") @record("all") permit (principal, action, resource);', 1, 10, '@record("commitment")'),
        ('@id("x") @retain("3d") forbid (principal, action, resource);', 1, 10, "says nothing on a forbid"),
        (f'{INFER} when {{ resource == Model::"opn@1" }};', 1, len(INFER) + 21, "Did you mean open@1?"),
        (f'{INFER[:-1]} == Model::"open");', 1, len(INFER) + 4, "so it can match nothing."),
        ('@id("x") permit (principal, action, resource == Door::"main");', 1, 49, 'the only door is Door::"transom".'),
        (f'{INFER} when {{ Model::"open@1".open }};', 1, len(INFER) + 9, "cannot be known"),
        (f'{INFER} when {{ resource.kind == "chta" }};', 1, len(INFER) + 26, 'never "chta". Did you mean chat?'),
        (f'{INFER} when {{ principal.kind == "kay" }};', 1, len(INFER) + 27, 'principal.kind is never "kay". Did you'),
        (f'{INFER} when {{ ["apy"].contains(resource.rung_name) }};', 1, len(INFER) + 10, "Did you mean api?"),
        (f'{INFER} when {{ "opn" == resource.name }};', 1, len(INFER) + 9, "Did you mean open?"),
        (f"{INFER} when {{ resource.rung > 5 }};", 1, len(INFER) + 25, "is always false: rung goes from 0 to 5."),
        (f"{INFER} when {{ 5 > resource.openness }};", 1, len(INFER) + 9, "is always true: openness goes from 0 to 4."),
        (f"{INFER} when {{ if {{a: [resource.rung < 0]}} has a then true else false }};", 1, 97, "is always false"),
    ],
)
def test_a_broken_policy_says_where_and_why(load: Load, text: str, line: int, column: int, says: str) -> None:
    found = problems(load, text)
    assert (line, column) in [each[:2] for each in found]
    assert any(says in what for *place, what in found if place == [line, column]), found


@pytest.mark.parametrize(
    "condition",
    [
        'resource.rung_name == "api" && resource.openness_name != "unknown"',
        'resource.name == "open" || ["open", "closed"].contains(resource.name)',
        'resource == Model::"open@1" || resource in [Model::"closed@2"]',
        "resource.rung > 4 && 0 < resource.rung && resource.openness >= 4",
        'resource has licence && resource.licence like "Apache*" && resource.upstreams.contains("anything")',
        'principal == Caller::"key_1" || principal in Group::"anybody"',
        'resource.version == "whatever" && resource.rung + 1 > 5 && resource.rung == resource.openness',
        "!(context.loopback)",
        "if resource.open then true else context.stream",
    ],
)
def test_what_can_match_something_is_accepted(load: Load, condition: str) -> None:
    assert load(f"{INFER} when {{ {condition} }};").policies.keys() == {"x"}


def test_one_reading_finds_every_problem_of_every_file(load: Load) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(a=f"permit (principal, action, resource);\n{INFER} when {{ foo }};", b="#", c=GOOD, d=GOOD)
    assert [str(problem).split(": ")[0] for problem in caught.value.problems] == [
        "policies/a.cedar:1:1",
        "policies/a.cedar:2:73",
        "policies/b.cedar:1:1",
        "policies/d.cedar:1:1",
    ]
    assert "@id('good') is taken: policies/c.cedar:1 has it." in str(caught.value)


def test_a_folder_without_policies_is_refused(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="nothing would be permitted to anybody"):
        load("// only a comment\n")
    with pytest.raises(ConfigErrors, match="holds no policy"):
        load_policies(tmp_path / "nowhere", MODELS, safeguards=SAFEGUARDS)


def test_a_file_that_is_not_text_is_refused(load: Load, tmp_path: Path) -> None:
    load(GOOD)
    (tmp_path / "policies" / "bad.cedar").write_bytes(b"\xff")
    with pytest.raises(ConfigErrors, match=r"^policies/bad.cedar: cannot be read as UTF-8 text"):
        load(GOOD)


def test_what_an_editor_leaves_is_not_a_policy(load: Load, tmp_path: Path) -> None:
    load(GOOD)
    (tmp_path / "policies" / ".#own.cedar").write_text("nonsense")
    (tmp_path / "policies" / "own.cedar~").write_text("nonsense")
    assert load(GOOD).policies.keys() == {"good"}


def test_a_policy_knows_its_place_and_its_comment(load: Load) -> None:
    policies = load(f"// Not this.\n\n// Everybody may\n// do everything.\n{GOOD} {INFER};").policies
    assert (policies["good"].file, policies["good"].line, policies["good"].column) == ("policies/own.cedar", 5, 1)
    assert policies["good"].summary == "Everybody may do everything."
    assert (policies["x"].line, policies["x"].column, policies["x"].summary) == (5, len(GOOD) + 2, "")


def test_a_rejected_set_leaves_the_running_one_alone(load: Load) -> None:
    running = load(GOOD)
    with pytest.raises(ConfigErrors):
        load(GOOD + "permit")
    assert running.rule(caller(), "infer", model(), Context()).policies == ("good",)


def test_the_words_in_hints_are_the_schemas(load: Load) -> None:
    actions = ", ".join(f'Action::"{action}"' for action in ACTIONS)
    of_others = {"stream", "loopback", "flagged", "groups", "service", "models", "networks"}
    of_model = [name for name in ATTRIBUTES if name not in of_others]
    asked = " && ".join(
        f"(if resource has {name} then resource.{name} == resource.{name} else true)" for name in of_model
    )
    load(
        f'@id("x") permit (principal, action in [{actions}], resource);'
        f'@id("y") permit (principal is Caller, action == Action::"infer", resource is Model) '
        f"when {{ {asked} && context.stream && context.loopback }};"
        '@id("w") permit (principal is Caller, action == Action::"issue_key", resource) when { '
        'context.groups.contains("x") && context.service && principal.kind == "key" && !principal.service && '
        "principal.models.isEmpty() && principal.networks.isEmpty() };"
        '@id("z") permit (principal in Group::"x", action == Action::"reload", resource is Door);'
    )
    assert set(TYPES) == {"Caller", "Group", "Model", "Door", "Action"}
