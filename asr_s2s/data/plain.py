"""Plain manifests: JSON Lines, or tables with a header line.

Columns: `audio` and `text`; optionally `id`, `speaker`, `language`, `duration`, `start` and
`sample_rate`. A row with `start` is a part of its recording; a row without it is the whole
recording, and `duration` is that of the recording. Other columns are kept in `cut.custom`. Times
are in seconds.
"""

import math
from collections.abc import Callable
from pathlib import Path

from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.utils import compute_num_samples

from asr_s2s.audio.decode import AudioInfo
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.columns import REQUIRED, invalid_value, label
from asr_s2s.errors import ManifestError
from asr_s2s.text_files import Row, require_columns

COLUMNS = (*REQUIRED, "id", "speaker", "language", "duration", "start", "sample_rate")
LENGTH_TOLERANCE = 0.1
"""Maximum difference in seconds between a given duration and that of the recording."""
RANGES = {
    "start": (0.0, 1e6, "a number of seconds from 0 to 1,000,000"),
    "duration": (1e-6, 1e6, "a positive number of seconds, at most 1,000,000"),
    "sample_rate": (4_000, 768_000, "a rate from 4,000 to 768,000 Hz"),
}
"""Minimum, maximum and description of each numeric column."""


def plain_cut(
    row: Row, where: str, folder: Path, probe_file: Callable[[str], AudioInfo], *, measure: bool
) -> Cut:
    """Convert a row to a cut, a MultiCut if the recording is known to have several channels.

    Args:
        probe_file: reads a recording's header. Called if the row has no `duration`, or if it has
            `start`, as the part must lie inside the recording.
        measure: always call `probe_file`.

    Raises:
        ManifestError: a column is missing or has an invalid value.
        AudioError: the recording was opened and cannot be read.
    """
    require_columns(row, where, REQUIRED)
    audio, text = row["audio"], row["text"]
    if not isinstance(audio, str) or not audio:
        raise invalid_value(where, "audio", "a path", audio)
    if not isinstance(text, str):
        raise invalid_value(where, "text", "text", text)
    path = str(folder / audio)
    cut_id = label(row, where, "id") or Path(audio).stem
    speaker = label(row, where, "speaker")
    start, duration = _number(row, where, "start"), _number(row, where, "duration")
    rate = _number(row, where, "sample_rate") or SAMPLE_RATE

    if duration is None or start is not None or measure:
        info = probe_file(path)
    else:
        info = AudioInfo(duration=duration, sample_rate=round(rate), channels=1)
    if start is None:
        start, end = 0.0, info.duration
    else:
        end = info.duration if duration is None else start + duration
        if start >= info.duration or end > info.duration + LENGTH_TOLERANCE:
            problem = f"the part from {start:g} to {end:g} s lies outside its recording"
            raise ManifestError(
                where, f"{problem} ({info.duration:.2f} s)", "Correct start and duration"
            )
        end = min(end, info.duration)
    length = round(end - start, 6)  # so that 0.1 + 0.2 gives 0.3

    channels = list(range(info.channels))
    cut_type, channel = (MonoCut, 0) if info.channels == 1 else (MultiCut, channels)
    recording = Recording(
        id=cut_id,
        sources=[AudioSource("file", channels, path)],
        sampling_rate=info.sample_rate,
        num_samples=compute_num_samples(info.duration, info.sample_rate),
        duration=info.duration,
    )
    supervision = SupervisionSegment(
        id=cut_id,
        recording_id=cut_id,
        start=0.0,
        duration=length,
        channel=channel,
        text=text,
        speaker=speaker,
        language=label(row, where, "language"),
    )
    return cut_type(
        id=cut_id,
        start=start,
        duration=length,
        channel=channel,
        supervisions=[supervision],
        recording=recording,
        custom={name: value for name, value in row.items() if name not in COLUMNS} or None,
    )


def _number(row: Row, where: str, name: str) -> float | None:
    """Return a time or rate, None if empty or absent. Tables contain numbers as text."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    least, greatest, expected = RANGES[name]
    if not least <= number <= greatest:
        raise invalid_value(where, name, expected, value)
    return number
