"""The command `asr-s2s transcribe`, run as a process on valid and broken files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_s2s.output_index import INDEX_FILE
from tests.support.commands import run_command
from tests.support.joined import write_joined
from tests.support.limits import TIMEOUT

COMMAND = [sys.executable, "-m", "asr_s2s"]
DIGITS = ("--model", "digits")
"""The smallest shipped model."""


def run(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return run_command(*arguments, stdin=stdin, cwd=cwd)


def outputs(folder: Path) -> list[Path]:
    """Files in an output folder, except its index."""
    return [path for path in folder.iterdir() if path.name != INDEX_FILE]


@pytest.fixture(scope="module")
def expected(sample: Path) -> str:
    return sample.with_suffix(".txt").read_text().strip()


@pytest.fixture(scope="module")
def waveform(sample: Path) -> tuple[np.ndarray, int]:
    """Samples and sampling rate of the sample recording."""
    samples, rate = soundfile.read(sample, dtype="float32")
    return samples, rate


def test_only_the_transcript_is_printed_to_standard_output(sample: Path, expected: str) -> None:
    command = [*COMMAND, "transcribe", *DIGITS, str(sample)]
    for done in (
        subprocess.run(command, capture_output=True, timeout=TIMEOUT),
        run("transcribe", *DIGITS, sample),
    ):
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == expected + "\n"
        assert done.stderr == b""


def test_default_model_transcribes_english(sample: Path) -> None:
    english = sample.with_name("english.wav")
    done = run("transcribe", english)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == english.with_suffix(".txt").read_text()


def test_json_has_one_object_per_recording(sample: Path, expected: str) -> None:
    done = run("transcribe", *DIGITS, sample, sample, "--format", "json", "--n-best", "3")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["source"] == str(sample)
        assert row["text"] == expected
        assert row["duration"] == pytest.approx(soundfile.info(sample).duration, abs=0.01)
        assert row["alternatives"][0]["text"] == expected


def test_folders_globs_and_standard_input(sample: Path, expected: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.wav", "a.wav", "deep/c.WAV"):
        shutil.copy(sample, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a recording")
    done = run("transcribe", *DIGITS, ".", "*.wav", "-", stdin=sample.read_bytes(), cwd=tmp_path)
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0, done.stderr
    assert [name for name, _ in lines] == ["a.wav", "b.wav", "deep/c.WAV", "a.wav", "b.wav", "-"]
    assert {text for _, text in lines} == {expected}


def test_output_folder_has_a_file_for_each_recording(
    sample: Path, expected: str, tmp_path: Path
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        shutil.copy(sample, tmp_path / name / "same.wav")
    output = tmp_path / "out"
    done = run("transcribe", *DIGITS, tmp_path / "x", tmp_path / "y", "--output-dir", output)
    assert done.returncode == 0, done.stderr
    assert {p.name: p.read_text() for p in outputs(output)} == {
        "same.txt": expected + "\n",
        "same-2.txt": expected + "\n",
    }


def test_transcript_does_not_depend_on_rate_sample_format_or_channels(
    waveform: tuple[np.ndarray, int], expected: str, tmp_path: Path
) -> None:
    import librosa

    samples, rate = waveform
    for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / f"{kind}.wav", samples, rate, subtype=kind)
    for other in (11_025, 22_050, 44_100, 48_000, 96_000):
        resampled = librosa.resample(samples, orig_sr=rate, target_sr=other)
        soundfile.write(tmp_path / f"{other}.flac", resampled, other)
    for channels in range(2, 7):
        many = np.tile(samples[:, None], (1, channels))
        soundfile.write(tmp_path / f"{channels}-channels.wav", many, rate)
    for suffix in ("ogg", "mp3", "flac"):
        soundfile.write(tmp_path / f"coded.{suffix}", samples, rate)
    done = run("transcribe", *DIGITS, tmp_path, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = {Path(r["source"]).name: r["text"] for r in map(json.loads, done.stdout.splitlines())}
    assert len(rows) == 6 + 5 + 5 + 3
    assert {name for name, text in rows.items() if text != expected} <= {"PCM_U8.wav"}


def test_bad_recordings_are_reported_and_the_others_transcribed(
    sample: Path, waveform: tuple[np.ndarray, int], expected: str, tmp_path: Path
) -> None:
    samples, rate = waveform
    shutil.copy(sample, tmp_path / "good.wav")
    whole = sample.read_bytes()
    (tmp_path / "zero-bytes.wav").write_bytes(b"")
    (tmp_path / "truncated.wav").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "text.wav").write_text("this is not a recording\n" * 20)
    soundfile.write(tmp_path / "no-samples.wav", np.zeros(0), rate)
    soundfile.write(tmp_path / "ten-milliseconds.wav", samples[: rate // 100], rate)
    soundfile.write(tmp_path / "silence.wav", np.zeros(rate), rate)
    nan = samples.copy()
    nan[1000:1010] = np.nan
    soundfile.write(tmp_path / "nan.wav", nan, rate, subtype="FLOAT")
    (tmp_path / "empty-folder").mkdir()
    locked = tmp_path / "locked.wav"
    shutil.copy(sample, locked)
    locked.chmod(0)
    bad = ["zero-bytes.wav", "truncated.wav", "text.wav", "no-samples.wav", "ten-milliseconds.wav",
           "silence.wav", "nan.wav", "missing.wav", "empty-folder", "nothing-*.wav"]  # fmt: skip
    if os.geteuid() != 0:  # root can read any file
        bad.append("locked.wav")
    sources = ["good.wav", *bad, "good.wav"]
    done = run("transcribe", *DIGITS, *sources, "--format", "json", cwd=tmp_path)
    messages = done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback" not in messages
    for name in bad:
        assert sum(line.startswith(f"asr-s2s: {name}: ") for line in messages.splitlines()) == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows if row["source"] == "good.wav"] == [expected] * 2
    # Silence has an empty transcript; unreadable files have none.
    assert {row["source"]: row["text"] for row in rows if row["source"] != "good.wav"} == {
        "silence.wav": ""
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "nonesuch"], 1, "nonesuch"),
        (["--device", "abacus"], 1, "abacus"),
        (["--device", "mps"], 1, "cpu, or cuda"),
        (["--language", "de"], 1, "--language"),
        (["--beam-size", "1001"], 1, "--beam-size"),
        (["--phrases", "lost.txt"], 1, "lost.txt"),
        (["--beam-size", "0"], 2, "beam"),
        (["--format", "docx"], 2, "docx"),
    ],
)
def test_invalid_option_is_reported_without_traceback(
    sample: Path, arguments: list[str], code: int, words: str
) -> None:
    done = run("transcribe", *DIGITS, sample, *arguments)
    assert done.returncode == code
    assert words in done.stderr.decode() and b"Traceback" not in done.stderr


def test_results_are_printed_one_by_one_and_kept_after_an_interrupt(sample: Path) -> None:
    command = [*COMMAND, "transcribe", *DIGITS, *[str(sample)] * 500, "--batch-seconds", "5"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # The tests may run as a background job, for which a shell ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = process.stdout.readline()
    assert first.startswith(str(sample).encode())
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, messages = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert b"Traceback" not in messages
    assert rest == b"" or rest.endswith(b"\n")


def test_killed_command_continues_with_the_output_of_an_uninterrupted_one(
    waveform: tuple[np.ndarray, int], tmp_path: Path
) -> None:
    samples, rate = waveform
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for number in range(60):
        soundfile.write(recordings / f"{number:02}.wav", np.roll(samples, 4000 * number), rate)
    options = ("--format", "json", "--format", "txt", "--format", "srt", "--batch-seconds", "5")
    complete, killed = tmp_path / "complete", tmp_path / "killed"
    assert (
        run("transcribe", *DIGITS, recordings, *options, "--output-dir", complete).returncode == 0
    )

    command = [
        *COMMAND,
        "transcribe",
        *DIGITS,
        str(recordings),
        *options,
        "--output-dir",
        str(killed),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(10):
        process.stdout.readline()
    process.kill()
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in outputs(killed) if path.name[0] != "."}
    finished = [
        name
        for name in {path.stem for path in before}
        if all((killed / f"{name}.{suffix}") in before for suffix in ("json", "txt", "srt"))
    ]
    assert 0 < len(finished) < 60
    again = run("transcribe", *DIGITS, recordings, *options, "--output-dir", killed)
    assert again.returncode == 0, again.stderr
    assert f"skipped {len(finished)} of 60".encode() in again.stderr
    for path in outputs(complete):
        assert (killed / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in outputs(killed)} == {path.name for path in outputs(complete)}
    for path, written in before.items():
        if path.stem in finished:
            assert path.stat().st_mtime_ns == written  # not transcribed again


def test_standard_output_may_be_closed_early(sample: Path) -> None:
    recordings = " ".join([str(sample)] * 100)
    line = f"{sys.executable} -m asr_s2s transcribe --model digits {recordings} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=TIMEOUT)
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["", "train", "transcribe", "evaluate", "prepare", "check", "info"]
)
def test_help_imports_neither_torch_nor_audio_libraries(command: str) -> None:
    """Torch takes seconds to import."""
    script = (
        "import sys; sys.argv = ['asr-s2s', *sys.argv[1:], '--help']\n"
        "from asr_s2s.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "slow = {'torch', 'torchaudio', 'librosa', 'lhotse', 'numpy', 'av'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    arguments = [command] if command else []
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    assert b"Usage" in done.stdout


def test_existing_transcript_beside_a_recording_is_not_overwritten(
    sample: Path, tmp_path: Path
) -> None:
    shutil.copy(sample, tmp_path / "a.wav")
    shutil.copy(sample, tmp_path / "b.wav")
    (tmp_path / "a.txt").write_text("written by hand")
    done = run("transcribe", *DIGITS, tmp_path, "--output-dir", tmp_path, "--overwrite")
    assert done.returncode == 1
    assert b"a.txt: " in done.stderr
    assert (tmp_path / "a.txt").read_text() == "written by hand"
    assert (tmp_path / "b.txt").is_file()
    again = run("transcribe", *DIGITS, tmp_path, "--output-dir", tmp_path)
    assert again.returncode == 0
    assert b"skipped 2 of 2" in again.stderr
    assert (tmp_path / "a.txt").read_text() == "written by hand"


def test_file_name_that_is_not_utf8_is_opened_and_printed_unchanged(
    sample: Path, expected: str, tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + b"/bad\xff.wav"
    Path(os.fsdecode(name)).write_bytes(sample.read_bytes())
    done = run("transcribe", *DIGITS, tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 2 * (name + b"\t" + expected.encode() + b"\n")


def test_full_disk_is_reported_without_traceback(sample: Path) -> None:
    line = f"{sys.executable} -m asr_s2s transcribe --model digits {sample} > /dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 1
    assert b"standard output: cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


def test_info_describes_the_installation_and_a_model() -> None:
    assert b"digits" in run("info").stdout
    described = run("info", "digits").stdout
    assert b"parameters" in described and b"time_reduction" in described


def test_subtitles_of_a_long_recording(sample: Path, expected: str, tmp_path: Path) -> None:
    spoken = write_joined(tmp_path / "long.flac", sample, times=7)
    formats = ("srt", "json", "vtt", "tsv", "txt")
    options = [option for format in formats for option in ("--format", format)]
    done = run(
        "transcribe", *DIGITS, tmp_path / "long.flac", *options, "--beam-size", "1",
        "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = {suffix: (tmp_path / "out" / f"long.{suffix}").read_text() for suffix in formats}
    assert len(outputs(tmp_path / "out")) == len(formats)
    assert done.stdout.decode() == written["srt"]
    assert written["srt"].count(" --> ") == written["vtt"].count(" --> ") == 7
    assert written["srt"].count(expected) == written["vtt"].count(expected) == 7
    assert written["txt"] == " ".join([expected] * 7) + "\n"
    header, *rows = (line.split("\t") for line in written["tsv"].splitlines())
    assert header == ["start", "end", "text"]
    segments = json.loads(written["json"])["segments"]
    for row, segment, (start, end) in zip(rows, segments, spoken, strict=True):
        assert row == [str(round(1000 * segment[k])) for k in ("start", "end")] + [expected]
        assert (int(row[0]), int(row[1])) == pytest.approx((1000 * start, 1000 * end), abs=300)


def test_silero_detector_gives_the_same_transcript(
    sample: Path, expected: str, tmp_path: Path
) -> None:
    write_joined(tmp_path / "long.flac", sample, times=6)
    done = run("transcribe", *DIGITS, tmp_path / "long.flac", "--vad", "silero", "--beam-size", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == " ".join([expected] * 6) + "\n"


def test_damaged_long_recording_is_reported_by_every_run(
    sample: Path, expected: str, tmp_path: Path
) -> None:
    write_joined(tmp_path / "long.flac", sample, times=9)
    whole = (tmp_path / "long.flac").read_bytes()
    (tmp_path / "long.flac").write_bytes(whole[: int(0.7 * len(whole))])
    shutil.copy(sample, tmp_path / "short.wav")
    for _ in range(2):
        done = run(
            "transcribe", *DIGITS, tmp_path, "--output-dir", tmp_path / "out", "--beam-size", "1"
        )
        assert done.returncode == 1
        assert done.stderr.count(b"long.flac: is damaged or cut short") == 1
        assert done.stdout.count(expected.encode()) >= 4
    assert b"skipped 1 of 2" in done.stderr
    assert (tmp_path / "out" / "long.txt").read_text().startswith(f"{expected} {expected} ")


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"
)
def test_memory_does_not_grow_with_the_recording(sample: Path, tmp_path: Path) -> None:
    # resource.getrusage is not used, as the peak of a child starts at the memory of its parent.
    script = (
        "import re, sys\n"
        "from asr_s2s.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "status = open('/proc/self/status').read()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1], file=sys.stderr)"
    )
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.flac"
        spoken = write_joined(path, sample, seconds=60 * minutes)
        command = [
            sys.executable,
            "-c",
            script,
            "transcribe",
            *DIGITS,
            str(path),
            "--beam-size",
            "1",
        ]
        done = subprocess.run(
            [*command, "--batch-seconds", "40"], capture_output=True, text=True, timeout=TIMEOUT
        )
        assert done.returncode == 0, done.stderr
        expected = sample.with_suffix(".txt").read_text().split()
        assert done.stdout.split() == expected * len(spoken)
        peaks.append(int(done.stderr))
    assert peaks[1] < 1.5 * peaks[0]


def test_killed_command_continues_in_nested_folders_with_a_bad_recording(
    sample: Path, tmp_path: Path
) -> None:
    for number in range(12):
        folder = tmp_path / "in" / f"{number:02}"
        folder.mkdir(parents=True)
        shutil.copy(sample, folder / "same.wav")
    write_joined(tmp_path / "in" / "05" / "long.flac", sample, times=6)
    (tmp_path / "in" / "03" / "same.wav").write_bytes(b"")
    options = ["--beam-size", "1", "--batch-seconds", "5", "--format", "txt", "--format", "vtt"]

    def command(output: str) -> list[str]:
        return [
            *COMMAND, "transcribe", *DIGITS, str(tmp_path / "in"), *options,
            "--output-dir", str(tmp_path / output),
        ]  # fmt: skip

    complete = subprocess.run(command("complete"), capture_output=True, timeout=TIMEOUT)
    assert complete.returncode == 1
    process = subprocess.Popen(
        command("out"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    for _ in range(5):
        assert process.stdout.readline()
    process.kill()
    process.communicate(timeout=TIMEOUT)
    out = tmp_path / "out"
    stamps = {p: p.stat().st_mtime_ns for p in out.iterdir() if p.name[0] != "."}
    assert stamps and not (out / "same-11.txt").exists()
    again = subprocess.run(command("out"), capture_output=True, timeout=TIMEOUT)
    assert again.returncode == 1
    finished = {p.stem for p in stamps if p.with_suffix(".txt") in stamps}
    finished &= {p.stem for p in stamps if p.with_suffix(".vtt") in stamps}
    assert f"skipped {len(finished)} of ".encode() in again.stderr
    for path, stamp in stamps.items():
        assert (path.stat().st_mtime_ns == stamp) == (path.stem in finished)
    assert again.stdout.count(b"\n") == 12 - len(finished)
    assert {p.name: p.read_bytes() for p in outputs(out)} == {
        p.name: p.read_bytes() for p in outputs(tmp_path / "complete")
    }


def test_up_to_date_files_are_skipped_unless_overwrite_is_given(
    sample: Path, tmp_path: Path
) -> None:
    command = ["transcribe", *DIGITS, sample, "--output-dir", tmp_path]
    for options, skipped in (([], False), ([], True), (["--overwrite"], False)):
        done = run(*command, *options)
        assert done.returncode == 0
        assert (b"skipped 1 of 1" in done.stderr) == skipped
        assert (done.stdout == b"") == skipped
