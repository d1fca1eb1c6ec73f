"""glibc malloc settings that reuse freed tensor memory."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def restart_with_huge_pages() -> None:
    """Restart this process with glibc configured to allocate memory in 2 MiB pages.

    A training step touches gigabytes, and one page fault per 4 KiB costs 10-25 % of its time. glibc
    reads the setting (`GLIBC_TUNABLES`) when a process starts, so call this before anything else.
    Does nothing if `GLIBC_TUNABLES` is already set or the C library is not glibc.
    """
    if "GLIBC_TUNABLES" in os.environ or not sys.platform.startswith("linux"):
        return
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it to the system.

    By default every large tensor is a separate mapping that is returned when freed, so that its
    pages fault in again at the next step; this cost 8-50 % of a training step in single runs on
    CPU. Called by commands, which own their process. Does nothing if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 << 20)  # the heap grows in steps of 64 MiB


def release_freed_memory() -> None:
    """Return freed memory to the system, for example before a fork, because a child keeps a copy of
    each page that its parent reuses. Does nothing if the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
