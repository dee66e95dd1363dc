from __future__ import annotations

from models import fast_encoder, request, words_of

from stages.observation import Observer

STORY = ("the quick brown fox*9 jumps over the lazy dog", "a fox*8 met a fox*8")


def test_a_further_explanation_of_the_records_embeds_only_itself() -> None:
    encoder = fast_encoder()
    observer = Observer(encoder)
    observer.observe(request("foxes", *STORY))
    observer.observe(request("dogs", *STORY))
    calls = encoder.encoder.calls  # type: ignore[attr-defined]
    assert [call for call in calls if call][2:] == [[("dogs",)]]


def test_other_texts_are_seen_by_the_standards_of_the_request() -> None:
    observer = Observer(fast_encoder())
    seen = observer.observe(request("the word 'fox'", *STORY))
    words, columns = observer.observe_elsewhere(seen, words_of("a fox met a fox", "a dog"))
    assert words.written == ["a", "fox", "met", "a", "fox", "a", "dog"]
    own = seen.words.split(seen.columns["same_words"])[1]
    assert columns["same_words"][:5].tolist() == own.tolist()
    assert set(columns) == set(seen.columns)
