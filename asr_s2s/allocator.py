"""How this process keeps memory that tensors give back."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def restart_with_huge_pages() -> None:
    """Start this process anew under a setting of glibc's by which memory comes in pages of 2 MiB.

    A training step touches gigabytes, and a page fault for each 4 KiB of them cost a tenth to a
    quarter of it. glibc reads the setting (`GLIBC_TUNABLES`) when a process starts; where somebody
    has chosen theirs, or the C library is not glibc, this does nothing. To be called first of all.
    """
    if "GLIBC_TUNABLES" in os.environ or not sys.platform.startswith("linux"):
        return
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it to the system.

    By default every large tensor is a mapping of its own, returned when freed, and its pages fault
    in again at the next step; in single runs on CPU that cost 8-50 % of a training step. Called by
    commands, which own their process; does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 << 20)  # the heap grows in such steps


def release_freed_memory() -> None:
    """Give freed memory back after all, as before a fork: a child keeps a copy of each page that
    its parent goes on to reuse. Does nothing where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
