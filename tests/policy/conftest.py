from collections.abc import Callable
from pathlib import Path

import pytest

from transom.policy.reload import load_policies
from transom.policy.ruling import Policies
from transom.values import VersionName

MODELS = frozenset({VersionName("open@1"), VersionName("closed@2")})
SAFEGUARDS = frozenset({"secrets", "pii"})

Load = Callable[..., Policies]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load policies given as `load(text)`, or as `load(a=text, b=text)` for the files a.cedar and b.cedar."""

    def loaded(text: str | None = None, **files: str) -> Policies:
        folder = tmp_path / "policies"
        folder.mkdir(exist_ok=True)
        for name, content in ({"own": text} if text is not None else files).items():
            (folder / f"{name}.cedar").write_text(content)
        return load_policies(folder, MODELS, safeguards=SAFEGUARDS)

    return loaded
