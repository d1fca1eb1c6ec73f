import os
import subprocess
import sys

import pytest

from tests.support.limits import TIMEOUT

SCRIPT = """
import os, sys
from asr_s2s.allocator import restart_with_huge_pages
print("started", flush=True)
restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], os.getpid())
"""


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)
@pytest.mark.parametrize(
    ("preset", "starts", "expected"),
    [
        (None, 2, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=0", 1, "glibc.malloc.check=0"),
    ],
)
def test_the_process_restarts_once_with_the_same_id_unless_tunables_are_set(
    preset: str | None, starts: int, expected: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    if preset is not None:
        environment["GLIBC_TUNABLES"] = preset
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "a b", "c"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    written, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    *started, last = written.splitlines()
    assert started == ["started"] * starts
    assert last == f"{expected} ['a b', 'c'] {process.pid}"
