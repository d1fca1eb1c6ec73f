"""Knowledge distillation: a layer of the speech encoder predicts a teacher's encoder features.

The teacher's features are those of the clean recording; the student's input is augmented. The loss
is that of DistilHuBERT (Chang, Yang and Lee, 2022): L1 distance and cosine similarity per frame.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.config import DistillConfig
from asr_s2s.nn.masks import padding_mask


class Distillation(nn.Module):
    """Prediction layer with its loss; trained along with the model, but not saved in it.

    Args:
        size: channels of the encoder's layer.
        teacher_size: channels of the teacher's features.
        per_frame: teacher frames predicted per frame of the layer.
        config: index of the layer, and weight of the loss.
    """

    def __init__(self, size: int, teacher_size: int, per_frame: int, config: DistillConfig) -> None:
        super().__init__()
        self.layer = config.layer
        self.weight = config.weight
        self.per_frame = per_frame
        self.output = nn.Linear(size, per_frame * teacher_size)
        # Teacher channels differ in scale; normalize each to mean 0 and variance 1.
        self.standardize = nn.BatchNorm1d(teacher_size, affine=False, track_running_stats=False)

    def forward(
        self, hidden: Tensor, lengths: Tensor, teacher: Tensor, teacher_lengths: Tensor
    ) -> Tensor:
        """Return the mean loss per frame, without its weight.

        Args:
            hidden: outputs of the layer, `(batch, time, size)`.
            lengths: valid frames of `hidden`, `(batch,)`.
            teacher: teacher features, `(batch, frames, teacher_size)`.
            teacher_lengths: valid frames of `teacher`, `(batch,)`; rows with 0 are ignored.
        """
        has_teacher = teacher_lengths > 0
        if not has_teacher.any():  # data-parallel training needs gradients of all weights
            zero: Tensor = 0.0 * self.output(hidden).sum()
            return zero
        hidden, lengths = hidden[has_teacher], lengths[has_teacher] * self.per_frame
        predicted = self.output(hidden).view(len(hidden), self.per_frame * hidden.size(1), -1)
        target = resample_frames(
            teacher[has_teacher], teacher_lengths[has_teacher], lengths, predicted.size(1)
        )
        valid = ~padding_mask(lengths, predicted.size(1))
        predicted, target = predicted[valid].float(), self.standardize(target[valid].float())
        distance = (predicted - target).abs().mean(-1)
        similarity = F.cosine_similarity(predicted, target, dim=-1)
        loss: Tensor = (distance - F.logsigmoid(similarity)).mean()
        return loss


def resample_frames(values: Tensor, lengths: Tensor, new_lengths: Tensor, size: int) -> Tensor:
    """Resample each row linearly in time, which keeps frames aligned after a change of speed.

    Args:
        values: `(batch, frames, channels)`.
        lengths: valid frames per row, `(batch,)`, at least 1.
        new_lengths: valid frames per row of the result, `(batch,)`.
        size: frames of the result, including padding.

    Returns:
        `(batch, size, channels)`; values beyond a row's new length are arbitrary.
    """
    position = (torch.arange(size, device=values.device) + 0.5) / new_lengths[:, None]
    position = (position * lengths[:, None] - 0.5).clamp_min(0.0)
    last = (lengths - 1)[:, None]
    below = torch.minimum(position.floor().long(), last)
    above = torch.minimum(below + 1, last)
    fraction = (position - below).clamp_max(1.0)[:, :, None]
    channels = values.size(2)

    def pick(index: Tensor) -> Tensor:
        return values.gather(1, index[:, :, None].expand(-1, -1, channels))

    return torch.lerp(pick(below), pick(above), fraction)
