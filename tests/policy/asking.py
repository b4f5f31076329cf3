"""Callers and resources to ask about."""

from transom.values import DOOR, OPENNESS, RUNGS, Caller, CallerId, Digest, Openness, Pseudonym, Resource, Rung

__all__ = ["DOOR", "caller", "model"]


def caller(*groups: str, id_: str = "key_1") -> Caller:
    return Caller(CallerId(id_), "somebody", groups, Pseudonym("p"))


def model(
    rung: Rung = "api", openness: Openness = "api-only", *, name: str = "closed@2", kind: str = "chat", mark: str = ""
) -> Resource:
    return Resource(
        type="Model",
        id=name,
        attributes={
            "name": name.partition("@")[0],
            "version": name.partition("@")[2],
            "kind": kind,
            "rung": RUNGS.index(rung),
            "rung_name": rung,
            "openness": OPENNESS.index(openness),
            "openness_name": openness,
            "open": openness in {"open-weights", "open-source"},
            "upstreams": ("vendor",),
            "regions": ("eu",),
        },
        digest=Digest(f"sha256:{rung}-{openness}-{kind}{mark}"),
    )
