"""Helpers shared by the benchmarks: processor name, and sections of RESULTS.md."""

import platform
import re
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text() if info.is_file() else "")
    return found[1] if found else platform.processor() or platform.machine()


def write_section(name: str, text: str, path: Path = RESULTS) -> None:
    """Replace a section, marked by comments, of a results file; a new section is appended."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}\n"
    before = path.read_text("utf-8") if path.is_file() else ""
    if begin in before and end in before:
        head, _, rest = before.partition(begin)
        section = head + section + rest.partition(end)[2].removeprefix("\n")
    elif before:
        section = f"{before.rstrip()}\n\n{section}"
    path.write_text(section, "utf-8")
