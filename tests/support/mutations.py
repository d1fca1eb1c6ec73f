"""Random damage to files, for tests that no input makes the product crash."""

import random
import re
from pathlib import Path

_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_ODD_VALUES = (
    b"", b"-1", b"0", b"1e400", b"nan", b"99999999999999999999", b"[", b"{}", b"null", b'"',
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\r", b"\x1b[31m", b"../../x", b"[" * 3000,
    b"*a", b"&a ",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Damage bytes in one or several random ways: flips, cuts, repeats, moves, odd values."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        content = rng.choice(_WAYS)(content, rng)
    return content


def damage_folder(folder: Path, rng: random.Random) -> str:
    """Damage, empty or remove one file of a folder; returns its name."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    if rng.random() < 0.05:
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return path.name


def _place(content: bytes, rng: random.Random) -> int:
    # Headers matter most, and are at the beginning.
    return rng.randrange(min(len(content), rng.choice((64, 1024, len(content) or 1))) + 1)


def _flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 3, 30))):
        changed[min(_place(content, rng), len(changed) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _remove(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + rng.choice((1, 4, 100)) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[max(0, place - rng.choice((1, 50, 1000))) :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + rng.choice(_ODD_VALUES) + content[place:]


def _random_bytes(content: bytes, rng: random.Random) -> bytes:
    place, length = _place(content, rng), rng.choice((1, 8, 200))
    return content[:place] + rng.randbytes(length) + content[place + length :]


def _change_number(content: bytes, rng: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(content[:20_000]))
    if not numbers:
        return _insert(content, rng)
    number = rng.choice(numbers)
    return content[: number.start()] + rng.choice(_ODD_VALUES) + content[number.end() :]


def _swap_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


_WAYS = (
    _flip_bits, _cut, _remove, _repeat, _insert, _random_bytes, _change_number, _swap_lines,
)  # fmt: skip
