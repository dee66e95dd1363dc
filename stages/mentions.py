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
    r"(?:after|before|following|followed|preceded|preceding|meaning|when|where|as|in|within|between)\b"
)
_END = rf"(?=\s*(?:$|[,;:.(]|{_PLACE}))"
_OPEN_CLASS = r"(?:word|token|term|verb|noun|adjective|adverb)"
_CLOSED_CLASS = r"(?:pronoun|preposition|conjunction|article|particle|determiner|modal)"
_KIND = rf"(?:{_OPEN_CLASS}|{_CLOSED_CLASS})"

# "the word more in comparisons", "the words a and the", "the phrase as if": the kind is said.
# "The word standing before a noun" names none, nor does "the article text".
_NAMED = regex.compile(
    rf"""\b(?:the|any|every|this|of)\s+(?:
        {_OPEN_CLASS}\s+(?!\p{{L}}+(?:ing|ed|en)\s+(?!when|where)\p{{L}})(?P<x>{_WORD}){_END}
      | {_CLOSED_CLASS}\s+(?P<function>{_WORD}){_END}
      | {_KIND}s\s+(?P<x>{_WORD})(?:{_JOINT}(?P<x>{_WORD}))+{_END}
      | (?:phrase|expression)\s+(?!(?:that|which|who|of|for|used|structure|levels?)\b)
        (?P<x>{_WORD}(?:\s+{_WORD}){{1,4}}?){_END}
    )""",
    regex.VERBOSE | regex.IGNORECASE,
)
# "of after care", "pronoun them": function words where what fires is said; they describe nothing.
_FIRST = regex.compile(
    rf"^\s*(?!(?:the|an?)\s\p{{L}}+ing\b)(?:the\s+)?(?:{_KIND}s?\s+)?{_LIST}"
    rf"(?=\s*(?:$|[,:;(+=]|{_PLACE}|(?:join|link|introduc|open|clos|connect|start)ing\b))",
    regex.IGNORECASE,
)
# "to after proud, dare": in a label there is no room to describe the word beside.
_FEW = rf"(?P<x>(?!(?:or|and)\b){_WORD}(?:\s+(?!(?:or|and)\b){_WORD})?)"
_BESIDE = regex.compile(
    rf"\b(?:after|before|following|followed by|preceded by)\s+"
    rf"{_FEW}(?:{_JOINT}{_FEW})*\s*$",
    regex.IGNORECASE,
)
# "as in does not mean that, what say ye": examples up to the end of the clause.
_BARE = rf"(?P<x>(?!(?:or|and)\b(?!\s*[,)])){_WORD})"
_NOT_SAID = "or|and|in|on|at|those|these|when|where|not|others?|etc|so on|similar"
_SAID = rf"(?:\b(?:an?|the)\s+)?(?P<x>(?!(?:{_NOT_SAID})\b){_WORD}(?:\s+{_WORD}){{0,3}}?)"
_EXAMPLES = regex.compile(
    rf"\b(?:as\s+in|such\s+as|e\.?\s?g\.|for\s+(?:example|instance)|(?:{_KIND}|phrase)s\s+like)"
    rf"[\s,:]\s*{_SAID}(?:{_JOINT}{_SAID})*"
    rf"(?=(?:{_JOINT}|\s)*(?:$|[;)]|\.(?!\S)|(?:etc|others?|so\s+on|more|similar)\b))",
    regex.IGNORECASE,
)
# "Sounds of animals (bark, hiss)", "relatives, including aunts, sons": lists of words show what is
# meant where they stand in brackets, behind a colon or at the end.
_LISTED = regex.compile(
    rf"(?:\(|\w:\s|\b(?:including|like|namely)\s)\s*{_BARE}(?:{_JOINT}{_BARE})+"
    rf"(?:{_JOINT}?(?:etc|(?:and )?so on|others|similar))?[\s.…]*(?:\)|[;.]|$)",
    regex.IGNORECASE,
)
# "The numbers 8, 12 and 20", "the letters X and Y".
_FIGURE = r"(?P<x>\d(?:[\w.,:]*\w)?)"
_FIGURES = regex.compile(
    rf"""\b(?:numbers?|numerals?|digits?|figures?|years?)\s{_FIGURE}(?:{_JOINT}{_FIGURE})*{_END}
    | \b(?:letters?|characters?|keys?)\s(?P<x>\p{{L}}\b)(?:{_JOINT}(?P<x>\p{{L}}\b))*{_END}""",
    regex.VERBOSE | regex.IGNORECASE,
)
# "Words ending in tion", "starts with co".
_AFFIXES = regex.compile(
    rf"(?:^|\b(?:{_KIND}|name|plural)s?\s)(?:that\s|which\s)?(?:begin|start|end)(?:s|n?ing)?\s(?:with|in)\s"
    rf"(?P<x>\p{{Ll}}{{1,5}})\b(?!['’-])(?:{_JOINT}(?P<x>\p{{Ll}}{{1,5}})\b(?!['’-]))*(?=\s*(?:$|[,;.(]))"
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
        wherever someone sometimes possibly being having doing except including""",
    )
)
_HOW = frozenset(("just", "right", "directly", "immediately", "only"))
_KINDS = regex.compile(rf"(?:{_KIND}|clause|quote)s?|newline|whitespace|tag")
_SYMBOL = regex.compile(r"[^\p{L}\p{N}\s,/;:.()'’-]")
_ARTICLE = regex.compile(r"(?:an?|the|any|some|every|his|her|their|its|such|(?:an)?other)\s")

Span = tuple[int, int]


def mentions(
    text: str,
    function_words: frozenset[str],
    meta_words: frozenset[str],
    is_class: Callable[[str], bool],
) -> list[Span]:
    """Where the words stand that an explanation without quotation marks names; none overlap.

    Parameters
    ----------
    function_words : lowercase; who says one without a sentence around it means the word itself.
    meta_words : lowercase; with them explanations speak of words ("phrase", "usage").
    is_class : whether a phrase names a class of words ("numbers", "commas").
    """

    def said(span: Span) -> str:
        return text[slice(*span)].casefold()

    def alone(word: str) -> bool:
        return _alone(word, function_words)

    def is_kind(word: str) -> bool:
        is_meta = not meta_words.isdisjoint((word, word.removesuffix("s")))
        return is_meta or bool(_KINDS.fullmatch(word))

    def describes(phrase: str) -> bool:
        last = phrase.split()[-1]
        return is_kind(last) or is_class(phrase)

    rules: tuple[tuple[regex.Pattern[str], str, Callable[[str], bool]], ...] = (
        (_NAMED, "x", lambda word: word not in _HOW | meta_words),
        (_NAMED, "function", function_words.__contains__),
        (_EXAMPLES, "x", lambda phrase: not describes(phrase)),
        (_LISTED, "x", lambda word: not is_kind(word)),
        (_FIGURES, "x", lambda _: True),
        (_AFFIXES, "x", lambda part: part not in function_words),
    )
    found = [
        span
        for pattern, group, is_meant in rules
        for match in pattern.finditer(text)
        for span in match.spans(group)
        if is_meant(said(span))
    ]
    found += first_mentions(text, function_words)
    if len(regex.findall(_WORD, text)) <= _LABEL:
        found += [
            span
            for span in _beside(text, alone, describes)
            if not (_ARTICLE.match(said(span)) or describes(said(span)))
        ]
        found = found or _open_phrases(text, alone)
    apart: list[Span] = []
    for span in sorted(found):
        if not apart or span[0] >= apart[-1][1]:
            apart.append(span)
    return apart


def first_mentions(text: str, function_words: frozenset[str]) -> list[Span]:
    """Where the function words stand with which an explanation begins, if it means these."""
    first = _FIRST.match(text)
    spans = first.spans("x") if first else []
    named = all(_alone(text[slice(*span)].casefold(), function_words) for span in spans)
    return spans if named else []


def _alone(word: str, function_words: frozenset[str]) -> bool:
    return word in function_words and word not in _OF_PLACE


def _beside(
    text: str, alone: Callable[[str], bool], describes: Callable[[str], bool]
) -> list[Span]:
    """What a label has behind "after" or "before", if what stands there is nothing but words.

    "Life after death" and "before elections" speak of things.
    """
    match = _BESIDE.search(text)
    if not match:
        return []
    before = [word.casefold() for word in regex.findall(_WORD, text[: match.start()])]
    if before:
        speaks_of_words = all(alone(word) or describes(word) for word in before)
    else:
        speaks_of_words = alone(match[0].split()[-1].casefold())
    return match.spans("x") if speaks_of_words else []


def _open_phrases(text: str, alone: Callable[[str], bool]) -> list[Span]:
    """The parts of a label all of which end in a function word, as no description does."""
    found: list[Span] = []
    start = 0
    if _SYMBOL.search(text):
        return found
    ends = [*(match.span() for match in _SEPARATE.finditer(text)), (len(text), len(text))]
    for stop, next_start in ends:
        words = list(regex.finditer(_WORD, text[start:stop]))
        if words:
            if len(words) > _PHRASE or not alone(words[-1][0].casefold()):
                return []
            found.append((start + words[0].start(), start + words[-1].end()))
        start = next_start
    return found
