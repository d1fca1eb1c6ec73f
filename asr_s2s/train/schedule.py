"""Learning rate and scheduled-sampling probability as functions of the step."""

import math

from asr_s2s.config import ObjectiveConfig, TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of step `step`, counted from 0: linear warm-up, then decay.

    `inverse_sqrt` follows Vaswani et al. (2017); `cosine` and `linear` end at
    `final_learning_rate` times the peak.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    if config.schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup, 1) / (step + 1))
    progress = min(1.0, (step - warmup) / max(1, config.steps - 1 - warmup))
    remaining = 1 - progress
    if config.schedule == "cosine":
        remaining = (1 + math.cos(math.pi * progress)) / 2
    return peak * (config.final_learning_rate + (1 - config.final_learning_rate) * remaining)


def sampling_probability(step: int, config: ObjectiveConfig) -> float:
    """Return the probability that a decoder input is the model's own prediction (Bengio et al.,
    2015).

    It is 0 before step `scheduled_sampling_start`, then rises linearly to its final value over the
    same number of steps.
    """
    if config.scheduled_sampling == 0.0 or step < config.scheduled_sampling_start:
        return 0.0
    rise = (step - config.scheduled_sampling_start + 1) / max(1, config.scheduled_sampling_start)
    return config.scheduled_sampling * min(1.0, rise)
