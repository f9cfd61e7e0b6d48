"""Commands, make targets and tests that the documentation names exist."""

import re
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import ROOT

OURS = ("model", "service", "client", "bench", "deploy", "tests")
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", *(f"{folder}/**/*.md" for folder in OURS))
    for page in sorted(ROOT.glob(pattern))
]


def named(pattern: str) -> list[tuple[Path, str]]:
    """Find all matches of a pattern's group, each with its page."""
    found = [(page, match) for page in PAGES for match in re.findall(pattern, page.read_text())]
    assert found
    return found


def test_every_module_that_a_page_runs_exists() -> None:
    modules = named(rf"python3? -m ((?:{'|'.join(OURS)})\b[\w.]*\w)")
    assert [(page, name) for page, name in modules if find_spec(name) is None] == []


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {*re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)}
    verbs = re.search(r"addprefix deploy-,([a-z -]+)", makefile)
    assert verbs
    targets |= {f"deploy-{verb}" for verb in verbs[1].split()}
    commands = named(r"(?m)(?:^    |`)(?:[A-Z_]+=\S+ )*make ([a-z]+(?:-[a-z]+)*)(?![\w-])")
    assert [(page, name) for page, name in commands if name not in targets] == []


def test_every_test_that_a_page_names_exists() -> None:
    files = named(r"((?:[\w]+/)*test_\w+\.py(?:::\w+)?)")
    missing = []
    for page, name in files:
        file, _, function = name.removeprefix("tests/").partition("::")
        found = [*(ROOT / "tests").glob(f"**/{file}")]
        if not any(f"def {function}" in each.read_text() for each in found):
            missing.append((page, name))
    assert missing == []
