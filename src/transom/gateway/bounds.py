"""What a key itself is held to: asked before any policy is, so that no policy can widen it. Pure."""

import ipaddress
from functools import lru_cache

from transom.errors import Forbidden
from transom.values import Caller, Resource

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_network(caller: Caller, peer: str | None) -> None:
    """Raise `Forbidden` where the caller's key does not open from `peer`, the address at the connection's other end."""
    if not caller.networks:
        return
    address = _address(peer)
    if address is None or not any(address in _network(network) for network in caller.networks):
        raise Forbidden(
            "This key does not open from where you are. Use it from the networks it was issued for, or ask an operator "
            "for another. Behind a proxy, what counts is the proxy's address.",
            code="key_network_not_allowed",
        )


def check_model(caller: Caller, resource: Resource) -> None:
    """Raise `Forbidden` where `resource` is a model that the caller's key is not for."""
    if not allows_model(caller, resource):
        raise Forbidden(
            f"This key is for {', '.join(caller.models)} and not for {resource.id}. Ask for one of these, or an "
            "operator for another key.",
            code="key_model_not_allowed",
        )


def allows_model(caller: Caller, resource: Resource) -> bool:
    """Say whether the caller's key is for `resource`: anything that is no model, or a model of its list."""
    if not caller.models or resource.type != "Model":
        return True
    return resource.id in caller.models or resource.attributes["name"] in caller.models


def _address(peer: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:  # no TCP connection, so no address
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def _network(text: str) -> _Network:
    return ipaddress.ip_network(text)
