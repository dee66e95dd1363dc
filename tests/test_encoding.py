from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from models import SpellingEncoder, words_of

from stages.embedding import WordVectors
from stages.encoding import TextEncoder, interned

FOX, DOG, CAT = words_of("the fox", "the dog", "a cat")


def test_texts_come_back_in_the_order_given() -> None:
    encoder = TextEncoder(SpellingEncoder())
    encoder.encode([CAT])
    texts = [DOG, CAT, FOX, DOG, ()]
    assert [text.written for text in encoder.encode(texts)] == texts


def test_a_text_is_encoded_once() -> None:
    spelling = SpellingEncoder()
    encoder = TextEncoder(spelling)
    first = encoder.encode([FOX, DOG, FOX])
    again = encoder.encode([DOG, CAT, FOX])
    assert spelling.calls == [[FOX, DOG], [CAT]]
    assert first[0] is first[2] is again[2]


def test_what_was_not_used_for_longest_is_dropped() -> None:
    spelling = SpellingEncoder()
    encoder = TextEncoder(spelling, most_words=4)
    for texts in ([FOX, DOG], [FOX], [CAT], [FOX], [DOG]):
        encoder.encode(texts)
    assert [call for call in spelling.calls if call] == [[FOX, DOG], [CAT], [DOG]]


def test_a_request_may_be_larger_than_the_cache() -> None:
    encoder = TextEncoder(SpellingEncoder(), most_words=1)
    assert [text.written for text in encoder.encode([FOX, DOG, FOX, CAT])] == [FOX, DOG, FOX, CAT]


def test_words_are_compared_normalised_and_by_stem() -> None:
    (text,) = TextEncoder(SpellingEncoder()).encode([("Fox", "fox", "FOXES", "Don’t", "don't")])
    fox, same, foxes, dont, straight = text.words
    assert fox == same != foxes
    assert dont == straight
    assert len(set(text.stems[:3].tolist())) == 1


def test_equal_strings_get_equal_hashes() -> None:
    a, b, again = interned(["fox", "dog", "f" + "ox"])
    assert a == again != b
    assert interned([]).shape == (0,)


class FragileEncoder(SpellingEncoder):
    broken = True

    def encode(self, texts: Sequence[Sequence[str]]) -> list[WordVectors]:
        if self.broken:
            raise RuntimeError("out of memory")
        return super().encode(texts)


def test_a_failure_leaves_nothing_half_done() -> None:
    fragile = FragileEncoder()
    encoder = TextEncoder(fragile)
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.encode([FOX])
    fragile.broken = False
    assert encoder.encode([FOX])[0].written == FOX


class LonelyEncoder(SpellingEncoder):
    """Notes how many threads were in it at once."""

    inside = most = 0

    def encode(self, texts: Sequence[Sequence[str]]) -> list[WordVectors]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.001)
        self.inside -= 1
        return super().encode(texts)


def test_threads_share_it_without_mixing_texts_up() -> None:
    lonely = LonelyEncoder()
    encoder = TextEncoder(lonely, most_words=14)
    texts = [(f"word{i}", "x" * i) for i in range(15)]
    done: list[bool] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(20):
            wanted = rng.choices(texts, k=5)
            found = encoder.encode(wanted)
            done.append([text.written for text in found] == wanted)
            expected = SpellingEncoder().encode(wanted)
            pairs = zip(found, expected, strict=True)
            done.append(all(np.allclose(f.vectors.static, e.static, atol=1e-3) for f, e in pairs))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 160
    assert all(done)
    assert lonely.most == 1
