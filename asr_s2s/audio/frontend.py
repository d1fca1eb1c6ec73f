"""Speech frontend: from waveforms to the features that a speech encoder reads."""

from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.audio.features import FRAMES_PER_SECOND, FeatureNormalizer, LogMel
from asr_s2s.audio.spec_augment import SpecAugment
from asr_s2s.config import AugmentConfig, FeatureConfig


class SpeechFrontend(nn.Module):
    """Level and log-mel energies, mean and variance normalization, SpecAugment, and frames of mean
    level at both ends.

    Args:
        features: settings of the features.
        augment: vocal tract perturbation and SpecAugment, active only in training.
    """

    def __init__(self, features: FeatureConfig, augment: AugmentConfig) -> None:
        super().__init__()
        self.edge_frames = features.edge_frames
        self.log_mel = LogMel(
            features.mel_bins,
            augment.vocal_tract_range,
            normalize_level=features.normalize_level,
        )
        self.normalize = FeatureNormalizer(features)
        self.spec_augment = SpecAugment(augment)

    @property
    def edge_seconds(self) -> float:
        """Seconds of frames that are added before the recording."""
        return self.edge_frames / FRAMES_PER_SECOND

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the input of a speech encoder.

        Args:
            waveforms: `(batch, samples)` in [-1, 1] at 16 kHz.
            lengths: sample counts, `(batch,)`.

        Returns:
            features `(batch, frames, mel_bins)`, one frame per 10 ms and zero beyond each row's
            length, and frame counts `(batch,)`.
        """
        features, lengths = self.normalized(waveforms, lengths)
        return self.add_edges(self.spec_augment(features, lengths), lengths)

    def normalized(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute normalized log-mel features without SpecAugment and edge frames; arguments and
        result are as in `forward`."""
        features, lengths = self.log_mel(waveforms, lengths)
        return self.normalize(features, lengths), lengths

    def add_edges(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Add `features.edge_frames` frames of zeros, the mean level, at both ends of each row."""
        edge = self.edge_frames
        return F.pad(features, (0, 0, edge, edge)), lengths + 2 * edge
