"""The guide for contributors names a test for every part that can be added."""

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).parent
GUIDE = FOLDER.parent.parent / "CONTRIBUTING.md"


def test_the_guide_names_the_tests_of_all_parts() -> None:
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", GUIDE.read_text("utf-8")))
    others = {Path(__file__).name, "test_names.py"}
    existing = {
        (path.name, node.name)
        for path in FOLDER.glob("test_*.py")
        if path.name not in others
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert named == existing
