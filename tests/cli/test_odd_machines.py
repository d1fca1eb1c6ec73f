"""Odd names, odd machines and kills: `asr-s2s transcribe` and `translate` lose nothing."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_s2s.output_index import INDEX_FILE
from tests.support.limits import TIMEOUT

TRANSCRIBE = [sys.executable, "-m", "asr_s2s", "transcribe", "--model", "digits",
              "--beam-size", "1"]  # fmt: skip
KILLS = int(os.environ.get("ASR_S2S_KILLS", "2"))
"""Number of kills at random moments in the tests of kills."""


def run(
    *arguments: str | Path, cwd: Path | None = None, **options: object
) -> subprocess.CompletedProcess[bytes]:
    command = [*TRANSCRIBE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, cwd=cwd, **options)


def outputs(folder: Path) -> dict[str, bytes]:
    """Contents of the visible files of an output folder."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


@pytest.fixture(scope="module")
def expected(sample: Path) -> bytes:
    return sample.with_suffix(".txt").read_bytes()


def test_recordings_of_the_same_name_are_all_transcribed(
    sample: Path, expected: bytes, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(sample)
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
    shutil.copy(sample, tmp_path / "A" / "01.wav")
    soundfile.write(tmp_path / "B" / "01.wav", samples[: len(samples) // 2], rate)
    assert run("A", "--output-dir", "out", cwd=tmp_path).stdout == expected
    second = run("B", "--output-dir", "out", cwd=tmp_path)
    assert b"skipped" not in second.stderr
    assert outputs(tmp_path / "out") == {"01.txt": expected, "01-2.txt": second.stdout}
    assert second.stdout != expected
    again = run("A", "B", "--output-dir", "out", cwd=tmp_path)
    assert b"skipped 2 of 2" in again.stderr and again.returncode == 0


def test_names_of_any_kind_are_transcribed_and_printed_on_one_line(
    sample: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    names = [b"a" * 251 + b".wav", b"b" * 250 + b".wav", b"bad\xff.wav",
             b"n\nt\tb\ae\x1b[31m.wav", b"z.wav"]  # fmt: skip
    for name in names:
        shutil.copy(sample, source / os.fsdecode(name))
    (source / os.fsdecode(b"q\n\x1b.wav")).write_bytes(b"")
    for name in ("._z.wav", "notes.txt", "more.txt", "README"):
        (source / name).write_bytes(b"\0\5\26\7")
    done = run("in", "--output-dir", "out", "--format", "txt", "--format", "json", cwd=tmp_path)
    assert done.returncode == 1  # of the empty file
    assert b"passed over in folders: .txt (2), files without suffix (1)" in done.stderr
    assert b"asr-s2s: in/q\\n\\x1b.wav: is empty" in done.stderr
    lines = done.stdout.splitlines()
    assert [line.count(b"\t") for line in lines] == [1] * len(names)
    assert b"in/n\\nt\\tb\\x07e\\x1b[31m.wav\t" in done.stdout
    assert b"\x1b" not in done.stdout + done.stderr
    written = outputs(tmp_path / "out")
    assert len(written) == 2 * len(names)
    rows = [json.loads(text) for name, text in written.items() if name.endswith(".json")]
    assert {os.fsencode(row["source"]) for row in rows} == {b"in/" + name for name in names}


def test_the_audio_track_is_chosen_and_named(sample: Path, expected: bytes, tmp_path: Path) -> None:
    import av

    samples, rate = soundfile.read(sample, dtype="int16")
    path = tmp_path / "two.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=rate, layout="mono") for _ in range(2)]
        for stream, content in zip(streams, (np.zeros_like(samples), samples), strict=True):
            frame = av.AudioFrame.from_ndarray(content[None], format="s16", layout="mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    silent = run(path)
    assert silent.returncode == 1
    assert b"track 1 of 2 audio tracks" in silent.stderr and b"--audio-track" in silent.stderr
    chosen = run(path, "--audio-track", "2")
    assert (chosen.returncode, chosen.stdout, chosen.stderr) == (0, expected, b"")
    assert b"there is no audio track 3" in run(path, "--audio-track", "3").stderr


@pytest.mark.parametrize("home", ["/proc", "home", None], ids=str)
def test_nothing_is_needed_of_the_environment_or_made_in_it(
    sample: Path, expected: bytes, tmp_path: Path, home: str | None
) -> None:
    (tmp_path / "home").mkdir()
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    if home is not None:
        environment["HOME"] = str(tmp_path / home)  # /proc stays /proc
    done = run(sample, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": str(sample), "text": "one"}))
    command = [sys.executable, "-m", "asr_s2s", "check", "m.jsonl"]  # imports lhotse
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert done.stderr.count(b"\n") == 1 and b"Without --config or --model" in done.stderr
    assert list((tmp_path / "home").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "m.jsonl"}


def test_closed_standard_streams(sample: Path, expected: bytes, tmp_path: Path) -> None:
    line = " ".join([*TRANSCRIBE, str(sample)])
    for closed, code in (("<&-", 0), (">&-", 1), ("2>&-", 0)):
        done = subprocess.run(["bash", "-c", f"{line} {closed}"], capture_output=True)
        assert done.returncode == code
        assert done.stdout == (b"" if code else expected)
        assert done.stderr.count(b"\n") == code
    done = subprocess.run(
        ["bash", "-c", f"{line} {sample} --output-dir {tmp_path} | head -1"], capture_output=True
    )
    assert done.stdout.count(b"\n") == 1 and done.stderr == b""
    assert set(outputs(tmp_path).values()) == {expected}


def test_full_disk_keeps_what_was_written(sample: Path, tmp_path: Path) -> None:
    for number in range(3):
        shutil.copy(sample, tmp_path / f"{number}.wav")
    out = tmp_path / "out"
    out.mkdir()
    (out / "big").write_bytes(bytes(2000))

    def limit_to(size: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = run(*sorted(tmp_path.glob("*.wav")), "--output-dir", out, "--format", "json", "--words",
               preexec_fn=limit_to(400))  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count(b"cannot be written (File too large)") == 1
    assert b"Traceback" not in done.stderr
    assert {path.name for path in out.iterdir()} == {"big", INDEX_FILE}
    done = run(*sorted(tmp_path.glob("*.wav")), "--output-dir", out, preexec_fn=limit_to(2000))
    assert done.returncode == 0, done.stderr
    assert outputs(out).keys() == {"big", "0.txt", "1.txt", "2.txt"}


def test_an_output_folder_that_cannot_be_written_is_one_error(sample: Path) -> None:
    done = run(sample, "--output-dir", "/proc/out")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"asr-s2s: /proc/out: cannot be written")
    assert done.stderr.count(b"\n") == 1


def test_a_recording_in_work_by_another_process_is_left_out(sample: Path, tmp_path: Path) -> None:
    shutil.copy(sample, tmp_path / "other.wav")
    os.mkfifo(tmp_path / "pipe")
    # The first process waits for the end of the pipe, and has reserved both recordings.
    first = subprocess.Popen(
        [*TRANSCRIBE, str(tmp_path / "pipe"), str(sample), "--output-dir", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
    )
    with (tmp_path / "pipe").open("wb") as pipe:  # opens when the first process reads it
        second = run(sample, tmp_path / "other.wav", "--output-dir", tmp_path / "out")
        pipe.write(sample.read_bytes())
    assert second.returncode == 1
    assert b"another process is transcribing 1 of 2" in second.stderr
    assert second.stdout.startswith(str(tmp_path / "other.wav").encode())
    assert second.stdout.count(b"\n") == 1
    first.communicate(timeout=TIMEOUT)
    assert outputs(tmp_path / "out").keys() == {"pipe.txt", "digits.txt", "other.txt"}


def test_transcribing_survives_kills_at_random_moments(sample: Path, tmp_path: Path) -> None:
    rng = random.Random(69)
    samples, rate = soundfile.read(sample, dtype="float32")
    recordings = tmp_path / "in"
    recordings.mkdir()
    for number in range(4 * KILLS):
        soundfile.write(recordings / f"{number:02}.wav", np.roll(samples, 4000 * number), rate)
    options = [recordings, "--format", "txt", "--format", "json", "--batch-seconds", "4"]
    assert run(*options, "--output-dir", tmp_path / "whole").returncode == 0
    whole = outputs(tmp_path / "whole")
    for _ in range(KILLS):
        command = [*TRANSCRIBE, *map(str, options), "--output-dir", str(tmp_path / "out")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(rng.randrange(4)):
            process.stdout.readline()
        time.sleep(rng.random() * rng.choice((0.001, 0.1)))
        process.kill()
        process.communicate(timeout=TIMEOUT)
        if (tmp_path / "out").exists():
            assert outputs(tmp_path / "out").items() <= whole.items()
    assert run(*options, "--output-dir", tmp_path / "out").returncode == 0
    assert outputs(tmp_path / "out") == whole
    hidden = {path.name for path in (tmp_path / "out").glob(".*")}
    assert hidden == {INDEX_FILE}


def test_translations_killed_at_random_moments_are_whole_lines(tmp_path: Path) -> None:
    rng = random.Random(70)
    text = tmp_path / "text.en"
    text.write_text("Two dogs are playing in the snow.\nA man.\nA woman is reading.\n" * 4)
    command = [sys.executable, "-m", "asr_s2s", "translate", str(text), "--beam-size", "1", "-o"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, timeout=TIMEOUT)
    whole, killed = (tmp_path / "whole").read_bytes(), tmp_path / "killed"
    for _ in range(KILLS):
        killed.unlink(missing_ok=True)
        process = subprocess.Popen([*command, str(killed)], stderr=subprocess.DEVNULL)
        while not killed.exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.random() * rng.choice((0.001, 0.5)))
        process.kill()
        process.communicate(timeout=TIMEOUT)
        part = killed.read_bytes()
        assert whole.startswith(part) and (not part or part.endswith(b"\n"))
    subprocess.run([*command, str(killed)], check=True, timeout=TIMEOUT)
    assert killed.read_bytes() == whole
