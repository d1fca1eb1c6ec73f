"""The sentences on which translation models are measured as people type them."""

from tests.support.everyday import SPELLINGS, loops, sentences, share_copied


def test_the_sentences_have_what_is_counted() -> None:
    given = sentences()
    assert len(given) == 200 and {s.spelling for s in given} == set(SPELLINGS)
    assert share_copied((s, s.text.title()) for s in given) == 1.0
    assert share_copied((s, "Er ist da.") for s in given) == 0.0
    assert share_copied((s, s.text[:-9]) for s in given) < 0.8
    assert loops("das ist das ist das ist das ist") and not loops("Es ist, wie es ist.")
