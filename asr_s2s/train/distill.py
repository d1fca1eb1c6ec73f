"""Knowledge distillation: a layer of the speech encoder predicts a teacher's encoder features.

The teacher has heard the recording as it is, the student hears it augmented. The loss is that of
DistilHuBERT (Chang, Yang and Lee, 2022): L1 distance and cosine similarity of single frames.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.audio.features import padding_mask
from asr_s2s.config import DistillConfig


class Distillation(nn.Module):
    """The prediction layer, and its loss. It is trained with the model, and no part of it.

    Args:
        size: channels of the encoder's layer.
        teacher_size: channels of the teacher's features.
        per_frame: features that each frame of the layer predicts.
        config: which layer, and the weight of the loss.
    """

    def __init__(self, size: int, teacher_size: int, per_frame: int, config: DistillConfig) -> None:
        super().__init__()
        self.layer = config.layer
        self.weight = config.weight
        self.per_frame = per_frame
        self.output = nn.Linear(size, per_frame * teacher_size)
        # Channels of the teacher differ in scale: each gets mean 0 and variance 1.
        self.standardize = nn.BatchNorm1d(teacher_size, affine=False, track_running_stats=False)

    def forward(
        self, hidden: Tensor, lengths: Tensor, teacher: Tensor, teacher_lengths: Tensor
    ) -> Tensor:
        """The mean loss per frame, not yet weighted.

        Args:
            hidden: outputs of the layer, `(batch, time, size)`.
            lengths: their valid frames, `(batch,)`.
            teacher: features `(batch, frames, teacher_size)`.
            teacher_lengths: their valid frames, `(batch,)`; rows of none are left out.
        """
        taught = teacher_lengths > 0
        if not taught.any():  # still a function of the weights, as data-parallel training wants
            nothing: Tensor = 0.0 * self.output(hidden).sum()
            return nothing
        hidden, lengths = hidden[taught], lengths[taught] * self.per_frame
        predicted = self.output(hidden).view(len(hidden), self.per_frame * hidden.size(1), -1)
        target = resample_frames(
            teacher[taught], teacher_lengths[taught], lengths, predicted.size(1)
        )
        valid = ~padding_mask(lengths, predicted.size(1))
        predicted, target = predicted[valid].float(), self.standardize(target[valid].float())
        distance = (predicted - target).abs().mean(-1)
        similarity = F.cosine_similarity(predicted, target, dim=-1)
        loss: Tensor = (distance - F.logsigmoid(similarity)).mean()
        return loss


def resample_frames(values: Tensor, lengths: Tensor, wanted: Tensor, size: int) -> Tensor:
    """Stretch each row linearly in time, so that a change of speed keeps frames together.

    Args:
        values: `(batch, frames, channels)`.
        lengths: valid frames of each row, `(batch,)`, at least 1.
        wanted: valid frames of each row of the result, `(batch,)`.
        size: frames of the result, padding included.

    Returns:
        `(batch, size, channels)`; what lies beyond a row's wanted length has no meaning.
    """
    place = (torch.arange(size, device=values.device) + 0.5) / wanted[:, None]
    place = (place * lengths[:, None] - 0.5).clamp_min(0.0)
    last = (lengths - 1)[:, None]
    below = torch.minimum(place.floor().long(), last)
    above = torch.minimum(below + 1, last)
    part = (place - below).clamp_max(1.0)[:, :, None]
    channels = values.size(2)

    def pick(index: Tensor) -> Tensor:
        return values.gather(1, index[:, :, None].expand(-1, -1, channels))

    return torch.lerp(pick(below), pick(above), part)
