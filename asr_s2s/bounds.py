"""Bounds of configuration values, written in the types of the fields that they bound."""

import math
from dataclasses import dataclass
from typing import Annotated, TypeAlias


@dataclass(frozen=True)
class Bounds:
    """Range of a number, both ends included; `value in bounds` is False for NaN."""

    minimum: float
    maximum: float = math.inf
    above: bool = False
    """Exclude the minimum itself."""

    def __contains__(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum and not (self.above and value == self.minimum)

    def __str__(self) -> str:
        """Description for error messages, after the word "expected"."""
        if self.maximum < math.inf:
            return f"a number from {self.minimum:,} to {self.maximum:,}"
        return f"a number above {self.minimum:,}" if self.above else f"{self.minimum:,} or more"


PositiveInt: TypeAlias = Annotated[int, Bounds(0, above=True)]
NonNegativeInt: TypeAlias = Annotated[int, Bounds(0)]
PositiveFloat: TypeAlias = Annotated[float, Bounds(0, above=True)]
NonNegativeFloat: TypeAlias = Annotated[float, Bounds(0)]
Fraction: TypeAlias = Annotated[float, Bounds(0, 1)]
LayerCount: TypeAlias = Annotated[int, Bounds(1, 1_000)]
