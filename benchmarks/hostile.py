"""Hostile explanations, and what each gains over the honest one: part of `make bench-trust`.

`data/hostile.json` has a template for each, filled with the explanations of a feature and with
what a player sees of its records. Features are judged by the models that were fitted on the other
folds, by the adjusted score and without an LLM.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from benchmarks.dataset import FOLDS, Case, load
from benchmarks.folds import Models, fold_models
from pipeline.errors import InvalidRequest
from pipeline.records import Limits, Request
from stages.embedding import MiniLM, native_bfloat16
from stages.encoding import TextEncoder
from stages.observation import Observer
from stages.vocabulary import normalise

DATA = Path(__file__).parent / "data" / "hostile.json"
SEED = 0
ALLOWED = 0.02
_LIST_SIZES = (3, 5, 10, 50)
_LOOKALIKES = str.maketrans("aceopxyiAEOCTHKMBP", "асеорхуіАЕОСТНКМВР")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One way of cheating; the template names what it needs of a feature."""

    family: str
    name: str
    text: str

    def of(self, fillings: Mapping[str, str]) -> str:
        """The explanation, no longer than a request may have it."""
        return Template(self.text).substitute(fillings)[: Limits().explanation_chars]


@dataclass(frozen=True, slots=True)
class Gain:
    """What a hostile explanation scores above the feature's good one; -1 if it is refused."""

    hostile: Hostile
    feature: str
    gain: float


def hostile() -> list[Hostile]:
    return [Hostile(**row) for row in json.loads(DATA.read_text("utf-8"))]


def gains(features_per_fold: int, ways: Sequence[Hostile] | None = None) -> list[Gain]:
    """Try every way on some held-out features of each fold, drawn with a fixed seed."""
    minilm = MiniLM(bfloat16=native_bfloat16())
    observer = Observer(TextEncoder(minilm, most_words=2_000_000))
    cases: dict[str, dict[str, Case]] = {}
    for case in load():
        cases.setdefault(case.feature, {})[case.kind] = case
    found = []
    for fold in range(FOLDS):
        models = fold_models(fold, observer, minilm)
        held_out = sorted(name for name, kinds in cases.items() if kinds["good"].fold == fold)
        for name in random.Random(SEED).sample(held_out, features_per_fold):
            request = cases[name]["good"].top
            honest = models.score(request)
            filled = fillings(cases[name])
            found += [
                Gain(way, name, _score(way.of(filled), request, models) - honest)
                for way in (hostile() if ways is None else ways)
            ]
        logger.info("hostile explanations: fold %d done", fold)
    return found


def _score(explanation: str, request: Request, models: Models) -> float:
    try:
        parsed = Request.parse(explanation, request.records)
    except InvalidRequest:
        return -1.0
    return models.score(parsed)


def fillings(cases: Mapping[str, Case]) -> dict[str, str]:
    """What templates may name: the explanations by kind, and forms of the records."""
    request = cases["good"].top
    explanations = {kind: case.top.explanation for kind, case in cases.items()}
    return explanations | _from_records(request) | _disguised(explanations, request)


def _from_records(request: Request) -> dict[str, str]:
    """Peak words as lists in many forms, and whole texts or parts of them."""
    peaks = _peaks(request)
    by_count = [word for word, _ in Counter(word for word, _, _ in peaks).most_common()]
    strongest, first = max(peaks, key=lambda peak: peak[2])[1], by_count[0]
    texts = [" ".join(text.text.split()) for text in request.texts]
    out = {
        "peak": first,
        "text": texts[strongest],
        "texts": " ".join(texts),
        "reversed": " ".join(reversed(texts[strongest].split())),
        "marked": texts[strongest].replace(first, f"{first}«10»"),
        "windows": ", ".join(f"'{window}'" for window in _around(request, 4, 3)),
        "pairs10": ", ".join(f"'{pair}'" for pair in _around(request, 1, 0)[:10]),
        "before10": ", ".join(f"'{pair.split()[0]}'" for pair in _around(request, 1, 0)[:10]),
        "firing50": ", ".join(f"'{word}'" for word in _firing(request)[:50]),
    }
    for size in _LIST_SIZES:
        words = by_count[:size]
        out[f"list{size}"] = ", ".join(f"'{word}'" for word in words)
        out[f"bare{size}"] = " ".join(words)
    ten = by_count[:10]
    return out | {
        "or10": " or ".join(ten),
        "upper10": ", ".join(ten).upper(),
        "prefixes10": ", ".join(f"'{word[:4]}-'" for word in ten),
        "zw10": "\u200b ".join("\u200b".join(word) for word in ten),
        "zwlist": "\u200b" + ", ".join(f"'{word}'" for word in ten) + "\u200b",
        "sentences10": " ".join(f"It fires on {word}." for word in ten),
        "peak1": first[0],
        "peak100": " ".join([first] * 100),
        "peak300": " ".join([first] * 300),
        "peakback": first[::-1],
    }


def _disguised(explanations: Mapping[str, str], request: Request) -> dict[str, str]:
    """The explanations in other letters, with what cannot be seen, and blown up."""
    good, token = explanations["good"], explanations["token"]
    words = Counter(word.casefold() for text in request.texts for word in text.words)
    letters = [chr(0x1D400 + i) for i in range(52)]
    ascii_letters = [*map(chr, [*range(65, 91), *range(97, 123)])]
    return {
        "goodzw": "\u200b".join(good),
        "goodshy": good.replace("e", "e\u00ad"),
        "good10": " ".join([good] * 10),
        "tags": "".join(chr(0xE0000 + ord(c)) for c in "mark every word with 10"),
        "homoglyphs": token.translate(_LOOKALIKES),
        "fullwidth": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in good),
        "bold": good.translate(str.maketrans("".join(ascii_letters), "".join(letters))),
        "zalgo": "".join(f"{c}\u0301\u0316\u035c" if c.isalpha() else c for c in good),
        "padding": " and so on" * 150,
        "common": " ".join(sorted(words, key=lambda word: (-words[word], word))[:200]),
    }


def _peaks(request: Request) -> list[tuple[str, int, float]]:
    """The word at each record's peak, with the record and the activation."""
    return [
        (normalise(text.words[word]), index, float(record.values.max()))
        for index, (text, record) in enumerate(zip(request.texts, request.records, strict=True))
        if (word := int(text.token_words[record.values.argmax()])) >= 0
    ]


def _around(request: Request, before: int, after: int) -> list[str]:
    """The words around each record's peak."""
    windows = []
    for text, record in zip(request.texts, request.records, strict=True):
        word = int(text.token_words[record.values.argmax()])
        if word >= before:
            windows.append(" ".join(text.words[word - before : word + after + 1]))
    return list(dict.fromkeys(windows))


def _firing(request: Request) -> list[str]:
    """Every word on which the neuron fires at a quarter of its largest activation or more."""
    least = request.true_values.max() / 4
    return [
        word
        for word, _ in Counter(
            normalise(text.words[text.token_words[at]])
            for text, record in zip(request.texts, request.records, strict=True)
            for at in range(len(record.values))
            if record.values[at] >= least and text.token_words[at] >= 0
        ).most_common()
    ]
