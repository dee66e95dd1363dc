"""Words that an explanation names without quotation marks: "the word more", "of after care".

People leave quotation marks out, above all in short labels. What is found here is taken for quoted
where nothing is; other words are still compared in meaning.
"""

from __future__ import annotations

from collections.abc import Callable

import regex

_WORD = r"\b[\p{L}\p{N}]+(?:['’]\p{L}+)*\b"
_JOINT = r"\s*(?:[,/]|\b(?:or|and)\b)\s*(?:\b(?:or|and)\b\s*)?"
_ONE = rf"(?P<x>(?!(?:as\s+in|such\s+as|(?:as|for|about|like)\s+whe(?:n|re))\b){_WORD})"
_LIST = rf"{_ONE}(?:{_JOINT}{_ONE})*"
_PLACE = (
    r"(?:(?:right|directly|immediately|just)\s+)?"
    r"(?:after|before|following|followed|preceded|preceding|when|where|as|in|within|between)\b"
)
_END = rf"(?=\s*(?:$|[,;:.(]|{_PLACE}))"
_KIND = (
    r"(?:word|token|term|verb|noun|pronoun|preposition|conjunction|adverb|adjective|article"
    r"|particle|determiner|modal)"
)

# "the word more in comparisons", "the words a and the", "the phrase as if": the kind is said.
# "The word standing before a noun" names none.
_NAMED = regex.compile(
    rf"""\b(?:the|any|every|this|of)\s+(?:
        {_KIND}\s+(?!\p{{L}}+ing\s+(?!when|where)\p{{L}})(?P<x>{_WORD}){_END}
      | {_KIND}s\s+(?P<x>{_WORD})(?:{_JOINT}(?P<x>{_WORD}))+{_END}
      | (?:phrase|expression)\s+(?P<x>{_WORD}(?:\s+{_WORD}){{1,4}}?){_END}
    )""",
    regex.VERBOSE | regex.IGNORECASE,
)
# "of after care", "pronoun them": function words where what fires is said; they describe nothing.
_FIRST = regex.compile(
    rf"^\s*(?:the\s+)?(?:{_KIND}s?\s+)?{_LIST}(?=\s*(?:$|[,:;(]|{_PLACE}))",
    regex.IGNORECASE,
)
# "to after proud, dare": in a label there is no room to describe the word beside.
_BESIDE = regex.compile(
    rf"\b(?:after|before|following|followed by|preceded by)\s+"
    rf"(?P<x>{_WORD}(?:\s+{_WORD})?)(?:{_JOINT}(?P<x>{_WORD}(?:\s+{_WORD})?))*\s*$",
    regex.IGNORECASE,
)
# "as in does not mean that, what say ye": examples up to the end of the clause.
_SAID = rf"(?:\b(?:an?|the)\s+)?(?P<x>{_WORD}(?:\s+{_WORD}){{0,3}}?)"
_EXAMPLES = regex.compile(
    rf"\b(?:as\s+in|such\s+as|e\.?\s?g\.|for\s+(?:example|instance)|(?:{_KIND}|phrase)s\s+like)"
    rf"[\s,:]\s*(?!(?:or|and)\b){_SAID}(?:{_JOINT}{_SAID})*(?=\s*(?:$|[;.)]))",
    regex.IGNORECASE,
)
_SEPARATE = regex.compile(rf"(?:{_JOINT}|[^\p{{L}}\p{{N}}'’\s])+", regex.IGNORECASE)

_LABEL = 6  # words of the longest explanation that is taken for a label
_PHRASE = 3  # words of the longest phrase that may be all of a label
# Function words that an explanation says of where and how often, not as what fires.
_OF_PLACE = frozenset(
    regex.findall(
        r"\w+",
        """just right directly immediately only also very never not both mostly often usually
        chiefly mainly especially particularly typically generally anything something anywhere
        wherever someone sometimes possibly being having doing""",
    )
)
_ARTICLE = regex.compile(r"(?:an?|the|any|some|every|his|her|their|its|such|(?:an)?other)\s")

Span = tuple[int, int]


def mentions(
    text: str, function_words: frozenset[str], described: Callable[[str], bool]
) -> list[Span]:
    """Where the words stand that an explanation without quotation marks names.

    Parameters
    ----------
    function_words : lowercase; who says one without a sentence around it means the word itself.
    described : whether a phrase names a class of words ("verbs", "numbers").
    """

    def alone(word: str) -> bool:
        return word in function_words and word not in _OF_PLACE

    def said(span: Span) -> str:
        return text[slice(*span)].casefold()

    found = {
        span
        for match in _NAMED.finditer(text)
        for span in match.spans("x")
        if said(span) not in _OF_PLACE
    }
    found.update(span for match in _EXAMPLES.finditer(text) for span in match.spans("x"))
    first = _FIRST.match(text)
    if first and all(alone(said(span)) for span in first.spans("x")):
        found.update(first.spans("x"))
    if len(regex.findall(_WORD, text)) > _LABEL:
        return sorted(found)
    beside = _BESIDE.search(text)
    for span in beside.spans("x") if beside else ():
        phrase = said(span)
        if not (_ARTICLE.match(phrase) or described(phrase)):
            found.add(span)
    return sorted(found) or _open_phrases(text, alone)


def _open_phrases(text: str, alone: Callable[[str], bool]) -> list[Span]:
    """The parts of a label all of which end in a function word, as no description does."""
    found, start = [], 0
    ends = [*(match.span() for match in _SEPARATE.finditer(text)), (len(text), len(text))]
    for stop, next_start in ends:
        words = list(regex.finditer(_WORD, text[start:stop]))
        if words:
            if len(words) > _PHRASE or not alone(words[-1][0].casefold()):
                return []
            found.append((start + words[0].start(), start + words[-1].end()))
        start = next_start
    return found
