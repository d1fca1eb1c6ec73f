"""Decoding options: one list, checked for a model in one place."""

from dataclasses import fields
from typing import get_type_hints

from asr_s2s.search.options import DecodeKeywords, DecodeOptions


def test_every_option_is_also_a_keyword_of_the_same_type() -> None:
    hints = get_type_hints(DecodeOptions)
    assert get_type_hints(DecodeKeywords) == {f.name: hints[f.name] for f in fields(DecodeOptions)}


def test_equal_options_can_share_a_batch() -> None:
    assert DecodeOptions(n_best=2) == DecodeOptions(n_best=2) != DecodeOptions(words=True)
    assert len({DecodeOptions(n_best=2), DecodeOptions(n_best=2)}) == 1
