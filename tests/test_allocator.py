import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from asr_s2s.allocator import restart_with_huge_pages
print("begins", flush=True)
restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], os.getpid())
"""


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)
@pytest.mark.parametrize(
    ("chosen", "starts", "found"),
    [
        (None, 2, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=0", 1, "glibc.malloc.check=0"),
    ],
)
def test_a_process_starts_anew_once_and_as_itself_unless_somebody_chose_otherwise(
    chosen: str | None, starts: int, found: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    if chosen is not None:
        environment["GLIBC_TUNABLES"] = chosen
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "a b", "c"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    written, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    *begins, last = written.splitlines()
    assert begins == ["begins"] * starts
    assert last == f"{found} ['a b', 'c'] {process.pid}"
