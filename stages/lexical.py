"""What an explanation says in words: quoted terms with their roles, clauses and word classes.

`parse` reads the explanation once; `stages.occurrences` asks where its terms stand. Where nothing
is quoted, the words that are named without count as quoted (`stages.mentions`). The roles tell what
a quotation is for:

===========  ==============================================  ====================================
role         meaning                                         example
===========  ==============================================  ====================================
target       the firing word or phrase itself                **'to'** after a verb
example      an example of the whole, target and context     as in **'proud to announce'**
before       stands before the firing word                   'to' after **'proud'**
after        stands after the firing word                    'the' followed by **'best'**
prefix       the firing word begins so                       words beginning with **'autom-'**
suffix       the firing word ends so                         words ending in **'ous'**
excluded     what does not fire                              'door', not **'next door'**
===========  ==============================================  ====================================
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import regex

from stages.mentions import mentions
from stages.vocabulary import classes_named, content_words, stem, word_lists, words_of

Role = Literal["target", "example", "before", "after", "prefix", "suffix", "excluded"]

_QUOTED = regex.compile(
    r"""(?<![\p{L}\p{N}])(?:
        '(?P<a>[^'\n]*(?:(?<=\p{L})'(?=\p{L})[^'\n]*)*)'(?!\p{L})
      | "(?P<b>[^"\n]+)"
      | ‘(?P<c>[^’\n]*(?:(?<=\p{L})’(?=\p{L})[^’\n]*)*)’(?!\p{L})
      | “(?P<d>[^”\n]+)”
      | `(?P<e>[^`\n]+)`
      | (?P<affix>(?<!\S)-\p{L}{1,8}\b | \b\p{L}{1,8}-(?![^\s,.;)]))
    )""",
    regex.VERBOSE,
)

_ALL_BUT = (
    r"(?:any|every)thing but|all but|(?:other|else) than|except(?: for)?|excluding"
    r"|a(?:part|side) from"
)
_EXCLUDES = rf"{_ALL_BUT}|not|never|rather than|instead of|unlike"

# The last cue before a quotation decides its role; a list ("'a', 'b' or 'c'") shares one cue.
_ROLE_CUES: tuple[tuple[Role, str], ...] = (
    ("excluded", rf"{_EXCLUDES}|but no"),
    ("prefix", r"(?:begin|start)(?:s|ning|ing)? (?:with|in)|prefix(?:es)?(?: like)?"),
    ("suffix", r"end(?:s|ing)? (?:in|with)|suffix(?:es)?(?: like)?"),
    ("before", r"after|follow(?:s|ing)|preceded by|comes? after|behind"),
    ("after", r"before|followed by|preced(?:es|ing)|introducing|ahead of"),
    (
        "example",
        r"as in|such as|like|e\.?g\.?|i\.?e\.?|for (?:example|instance)|including"
        r"|phrases?|expressions?|contexts?|in|inside",
    ),
)
_CUE = regex.compile(
    "|".join(rf"(?P<{role}>\b(?:{pattern})(?=\W|$))" for role, pattern in _ROLE_CUES),
    regex.IGNORECASE,
)
_LIST_JOINT = regex.compile(
    r"[\s,;/()]*(?:(?:or|and|and/or|as well as)\b[\s,]*)?(?:(?:an?|the)\s)?", regex.IGNORECASE
)

_CONTEXT_CUE = regex.compile(
    r"\b(?:in|after|before|when|where|while|for|with|within|inside|during|about|from|at|on|as in"
    r"|such as|like|especially|particularly|mostly|often|usually|chiefly|preceded|followed"
    r"|following|preceding|introducing|naming|giving|used|that|which|who|whose|linking|meaning"
    r"|describing|referring|related|directly|right|just|of)\b|[,:;(]",
    regex.IGNORECASE,
)
_EXCLUSION = regex.compile(rf"\b(?:but not|{_EXCLUDES})\b([^,;.]*)", regex.IGNORECASE)
_ANYTHING = {"anything", "everything", "thing", "things"}
_COMPLEMENT = regex.compile(rf"\b(?:{_ALL_BUT}|(?:is|are) not)\b", regex.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Term:
    """A quoted word or phrase.

    Attributes
    ----------
    words : its words, lowercase, straight apostrophes.
    stems : their stems.
    """

    text: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Explanation:
    """An explanation taken apart.

    Attributes
    ----------
    head : what fires, up to the first cue of a context, quotation marks taken off.
    context : the rest: where it fires.
    head_words, context_words : their content words, without meta words such as "phrase".
    excluded_words : content words of what is said not to fire.
    head_classes, context_classes : names of the word classes that they speak of.
    length : words in the explanation.
    complement : whether all fires but what this says: of "anything but animals", "animals" is
        taken apart.
    """

    text: str
    terms: tuple[Term, ...]
    head: str
    context: str
    head_words: tuple[str, ...]
    context_words: tuple[str, ...]
    excluded_words: tuple[str, ...]
    head_classes: frozenset[str]
    context_classes: frozenset[str]
    length: int
    complement: bool = False

    @property
    def only_excludes(self) -> bool:
        """Whether it says nothing but what does not fire."""
        affirmed = {*self.head_words, *self.context_words} - _ANYTHING
        excluded = self.terms_with("excluded")
        return bool(self.excluded_words or excluded) and not affirmed and excluded == self.terms

    def terms_with(self, *roles: Role) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.role in roles)


@lru_cache(maxsize=256)
def parse(text: str) -> Explanation:
    """Take an explanation apart; any text has a parse, if an empty one."""
    terms, quoted_spans = _terms(text)
    bare = _blank(text, quoted_spans)
    matches = list(_EXCLUSION.finditer(bare))
    exclusions = [match.span() for match in matches]
    excluded = " ".join(bare[start:end] for start, end in exclusions)
    affirmed = _blank(bare, exclusions)
    cut = _head_end(affirmed, quoted_spans)
    head, context = affirmed[:cut], affirmed[cut:]
    parsed = Explanation(
        text=text,
        terms=terms,
        head=_unquote(text[:cut]),
        context=_unquote(text[cut:]),
        head_words=content_words(head),
        context_words=content_words(context),
        excluded_words=content_words(excluded),
        head_classes=classes_named(head),
        context_classes=classes_named(context),
        length=len(words_of(text)),
    )
    rest = " ".join(text[match.start(1) : match.end(1)] for match in matches).strip()
    if rest and parsed.only_excludes and _COMPLEMENT.search(bare):
        return replace(parse(rest), complement=True)
    return parsed


def _terms(text: str) -> tuple[tuple[Term, ...], list[tuple[int, int]]]:
    """The quotations, or the words named without, with their roles, and where they stand."""
    terms: list[Term] = []
    spans: list[tuple[int, int]] = []
    role: Role = "target"
    for start, end, content in _quotations(text) or _mentions(text):
        last = spans[-1][1] if spans else 0
        between = text[last:start]
        if not (spans and _LIST_JOINT.fullmatch(between)):
            role = _role(between)
        spans.append((start, end))
        affix = None if role in ("before", "after") else _affix_role(content)
        words = tuple(words_of(content.strip("-…")) or words_of(content))
        if words:
            stems = tuple(stem(word) for word in words)
            terms.append(Term(content, words, stems, affix or role))
    return tuple(terms), spans


def _quotations(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of each."""
    return [
        (*match.span(), next(group for group in match.groups() if group is not None))
        for match in _QUOTED.finditer(text)
    ]


def _mentions(text: str) -> list[tuple[int, int, str]]:
    lists = word_lists()
    spans = mentions(text, lists["stop"], lists["meta"], lambda said: bool(classes_named(said)))
    return [(start, end, text[start:end]) for start, end in spans]


def _role(between: str) -> Role:
    """The role that the words before a quotation give it."""
    cues = list(_CUE.finditer(between))
    if not cues:
        return "target"
    last = cues[-1]
    # A cue far back belongs to something else: "after a verb of motion, usually 'from'".
    if len(words_of(between[last.end() :])) > _CUE_REACH:
        return "target"
    return next(role for role, _ in _ROLE_CUES if last[role] is not None)


_CUE_REACH = 4


def _affix_role(content: str) -> Role | None:
    if content[:1] == "-" and content[1:].isalpha():
        return "suffix"
    if content[-1:] == "-" and content[:-1].isalpha():
        return "prefix"
    return None


def _head_end(affirmed: str, quoted: list[tuple[int, int]]) -> int:
    """Where the context begins: the first cue that leaves something before it to fire on."""
    cues = [match.start() for match in _CONTEXT_CUE.finditer(affirmed)]

    def has_head(cue: int) -> bool:
        before = affirmed[:cue]
        return bool(
            any(end <= cue for _, end in quoted) or content_words(before) or classes_named(before)
        )

    # What one cue has before it, later ones have, too.
    first = bisect_left(cues, True, key=has_head)
    return cues[first] if first < len(cues) else len(affirmed)


def _blank(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with the spans overwritten by spaces, so that offsets stay true."""
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def _unquote(text: str) -> str:
    return _QUOTED.sub(lambda m: next(g for g in m.groups() if g is not None), text).strip(" ,;:")
