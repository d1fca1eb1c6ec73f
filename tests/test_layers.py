"""Imports go one way: a module imports only from its own layer or from earlier ones."""

import ast
from pathlib import Path

import asr_s2s

PACKAGE = Path(asr_s2s.__file__).parent
LAYERS = (
    "errors", "text_files", "bounds", "config", "config_file", "allocator", "nn", "audio", "text",
    "metrics", "data", "lm", "model", "search", "inspect", "sources", "reading", "pipeline",
    "live", "translator", "subtitles", "output_index", "writers", "train", "evaluate",
    "serve", "cli", "__main__",
)  # fmt: skip


def imported_layers(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("asr_s2s.")}


def test_imports_follow_the_order_of_layers() -> None:
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if layer == "__init__":
            continue
        for other in imported_layers(path):
            assert LAYERS.index(other) <= LAYERS.index(layer), f"{path} imports {other}"
