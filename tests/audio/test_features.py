import librosa
import numpy as np
import torch

from asr_s2s.audio.augment import WaveformAugment, add_noise
from asr_s2s.audio.features import (
    FFT,
    HOP,
    WARPS,
    WINDOW,
    FeatureNormalizer,
    LogMel,
    warped_filters,
)
from asr_s2s.audio.frontend import SpeechFrontend
from asr_s2s.audio.spec_augment import SpecAugment
from asr_s2s.config import AugmentConfig, FeatureConfig


def speech_like(seconds: float = 1.3) -> np.ndarray:
    rng = np.random.default_rng(0)
    time = np.arange(int(16_000 * seconds)) / 16_000
    tone = np.sin(2 * np.pi * (200 + 300 * time) * time) * (0.5 + 0.5 * np.sin(9 * time))
    return (0.2 * tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def test_log_mel_equals_librosa() -> None:
    samples = speech_like()
    features, lengths = LogMel(80)(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    expected = librosa.feature.melspectrogram(
        y=samples, sr=16_000, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=80,
        pad_mode="constant",
    )  # fmt: skip
    expected = np.log(np.maximum(expected, 1e-6)).T
    assert features.shape == (1, *expected.shape)
    assert int(lengths) == len(expected)
    np.testing.assert_allclose(features[0], expected, atol=2e-3)


def test_vocal_tract_length_varies_only_in_training() -> None:
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    batch, lengths = tone.expand(64, -1), torch.full((64,), 16_000)
    log_mel = LogMel(80, vocal_tract_range=0.2)
    peaks = log_mel(batch, lengths)[0][:, 50].argmax(-1)
    center = LogMel(80).eval()(batch[:1], lengths[:1])[0][0, 50].argmax()
    assert peaks.min() < center < peaks.max()
    assert (peaks - center).abs().max() <= 0.2 * center + 1  # bands are spaced evenly up to 1 kHz
    torch.testing.assert_close(
        log_mel.eval()(batch, lengths)[0], LogMel(80)(batch, lengths)[0], atol=0, rtol=0
    )


def test_warped_filters_keep_their_order_and_range() -> None:
    filters = LogMel(80).filters
    warped = warped_filters(filters, 0.2)
    torch.testing.assert_close(warped[WARPS // 2], filters)
    for warp in warped:
        assert warp.argmax(0).diff().min() >= 0  # bands keep their order
        assert warp[-10:, -1].max() > 0


def test_global_normalization_gives_the_training_set_zero_mean_and_unit_variance() -> None:
    normalize = FeatureNormalizer(FeatureConfig(mel_bins=3, normalization="global"))
    features = torch.randn(1, 500, 3) * torch.tensor([1.0, 2.0, 3.0]) + 5
    normalize.set_statistics(features[0].mean(0), features[0].std(0))
    normalized = normalize(features, torch.tensor([500]))[0]
    torch.testing.assert_close(normalized.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.std(0), torch.ones(3), atol=1e-5, rtol=0)


def test_utterance_normalization_cancels_level_and_ignores_padding() -> None:
    samples = torch.from_numpy(speech_like())
    log_mel = LogMel(40)
    normalize = FeatureNormalizer(FeatureConfig(mel_bins=40))
    lengths = torch.tensor([len(samples)])
    loud = normalize(*log_mel(samples[None], lengths))
    quiet = normalize(*log_mel(0.5 * samples[None], lengths))
    torch.testing.assert_close(loud, quiet, atol=1e-3, rtol=0)


def test_padding_and_other_rows_do_not_change_a_bit_of_the_features() -> None:
    samples = torch.from_numpy(speech_like())
    frontend = SpeechFrontend(FeatureConfig(normalize_level=True), AugmentConfig()).eval()
    length = torch.tensor([len(samples)])
    alone, frames = frontend(samples[None], length)
    for longer in (1, 7_000, 100_000):
        batch = torch.randn(3, len(samples) + longer)
        batch[1, : len(samples)] = samples
        together, _ = frontend(batch, torch.tensor([*batch.shape[1:], *length, 9_000]))
        assert torch.equal(together[1, : int(frames)], alone[0])


def test_spec_augment_respects_its_limits_and_is_off_in_evaluation() -> None:
    config = AugmentConfig(frequency_mask_bins=5, time_mask_frames=10)
    augment = SpecAugment(config)
    features = torch.ones(64, 100, 30)
    lengths = torch.full((64,), 80)
    masked = augment(features, lengths) == 0
    bands = masked.all(1).sum(1)
    spans = masked.all(2).sum(1)
    assert 0 < bands.max() <= 2 * 5
    assert 0 < spans.max() <= 2 * 10
    assert not masked[:, 80:].all(2).any()  # spans lie within the utterance
    assert torch.equal(augment.eval()(features, lengths), features)


def test_waveform_augmentation_is_determined_by_the_seed() -> None:
    augment = WaveformAugment(AugmentConfig(noise_probability=1.0))
    samples = speech_like()
    first = augment(samples, 0.9, np.random.default_rng([1, 2, 3]))
    again = augment(samples, 0.9, np.random.default_rng([1, 2, 3]))
    other = augment(samples, 0.9, np.random.default_rng([1, 2, 4]))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_speed_changes_length_and_pitch() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    augment = WaveformAugment(AugmentConfig(speeds=(1.25,), gain_db=0.0))
    rng = np.random.default_rng(0)
    faster = augment(tone, augment.draw_speed(rng), rng)
    assert abs(len(faster) - 12_800) <= 1
    peak = np.abs(np.fft.rfft(faster)).argmax() * 16_000 / len(faster)
    assert abs(peak - 1250) < 5


def test_noise_is_added_at_the_requested_ratio() -> None:
    samples = speech_like()
    noise = np.random.default_rng(1).standard_normal(len(samples)).astype(np.float32)
    added = add_noise(samples, noise, snr_db=10.0) - samples
    ratio = 10 * np.log10(np.mean(samples**2) / np.mean(added**2))
    assert abs(ratio - 10.0) < 0.01
