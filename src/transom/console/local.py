"""Where a visitor may be sent: within this door, never elsewhere."""


def local(target: str) -> str:
    """Return a path of this door to go to, empty where it would lead to another host."""
    good = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if good else ""
