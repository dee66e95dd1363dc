"""What an explanation says in words: quoted terms with their roles, clauses and word classes.

`parse` reads the explanation once; `stages.occurrences` asks where its terms stand. Where nothing
is quoted, the words that are named without count as quoted (`stages.mentions`). What each is for
is its role (`stages.roles`).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache

import regex

from stages.marks import marks
from stages.mentions import first_mentions, mentions
from stages.places import places_named
from stages.roles import ALL_BUT, CUE, EXCLUDES, LIST_JOINT, Quotation, Role, role_of, roles
from stages.vocabulary import classes_named, content_words, stem, word_lists, words_of

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

_WORDY, _MARKS = regex.compile(r"\w"), regex.compile(r"""[^\s'"‘’“”`]+""")
_CONTEXT_CUE = regex.compile(
    r"\b(?:in|after|before|when|where|while|for|with|within|inside|during|about|from|at|on|as in"
    r"|such as|like|especially|particularly|mostly|often|usually|chiefly|preceded|followed"
    r"|following|preceding|introducing|naming|giving|used|that|which|who|whose|linking|meaning"
    r"|describing|referring|related|directly|right|just|of)\b|[,:;(]",
    regex.IGNORECASE,
)
_EXCLUSION = regex.compile(rf"\b(?:but not|{EXCLUDES})\b([^,;.]*)", regex.IGNORECASE)
_ANYTHING = {"anything", "everything", "thing", "things"}
_COMPLEMENT = regex.compile(rf"\b(?:{ALL_BUT}|(?:is|are) not)\b", regex.IGNORECASE)


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
    before_classes, after_classes : of the classes to which the word right before or after what
        fires belongs ("nouns after a number").
    places : where in a sentence or between which marks it says that something fires.
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
    before_classes: frozenset[str]
    after_classes: frozenset[str]
    places: frozenset[str]
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
        before_classes=_classes_beside(affirmed, "before"),
        after_classes=_classes_beside(affirmed, "after"),
        places=places_named(affirmed),
        length=len(words_of(text)),
    )
    rest = " ".join(text[match.start(1) : match.end(1)] for match in matches).strip()
    if rest and parsed.only_excludes and _COMPLEMENT.search(bare):
        return replace(parse(rest), complement=True)
    return parsed


def _terms(text: str) -> tuple[tuple[Term, ...], list[tuple[int, int]]]:
    """The terms with their roles, and where the quotations among them stand."""
    named = _marks(text)
    said = _said(text, named)
    ordered = sorted([*said, *named], key=lambda one: (one.start, one.end, one.content))
    terms = tuple(
        Term(one.content, one.words, tuple(map(stem, one.words)), role)
        for one, role in roles(text, ordered)
        if one.words
    )
    return terms, [(one.start, one.end) for one in said]


def _marks(text: str) -> list[Quotation]:
    """The marks named, one of a kind ("brackets") at a time."""
    quoted = [(one.start, one.end) for one in _quotations(text)]
    found = marks(text, quoted, word_lists()["stop"], LIST_JOINT.fullmatch)
    return [Quotation(mark.start, mark.end, char) for mark in found for char in mark.characters]


def _quotations(text: str) -> list[Quotation]:
    """Those in quotation marks; where nothing but marks stands, these are meant."""
    found = [
        Quotation(*match.span(), next(group for group in match.groups() if group is not None))
        for match in _QUOTED.finditer(text)
    ]
    if found or _WORDY.search(text):
        return found
    return [Quotation(*match.span(), match[0]) for match in _MARKS.finditer(text)]


def _said(text: str, named: list[Quotation]) -> list[Quotation]:
    """What is quoted, or else named without quotation marks."""
    lists, quoted = word_lists(), _quotations(text)
    if quoted:
        bare = _blank(text, [(one.start, one.end) for one in quoted], _UNSAID)
        spans = first_mentions(bare, lists["stop"])
    else:
        spans = mentions(text, lists["stop"], lists["meta"], lambda said: bool(classes_named(said)))
        named_too = [range(one.start, one.end) for one in named]
        spans = [
            (s, e)
            for s, e in spans
            if not any(max(s, of.start) < min(e, of.stop) for of in named_too)
        ]
    return quoted + [Quotation(start, end, text[start:end]) for start, end in spans]


_NOUN = r"[\w-]+(?: (?!(?:or|and)\b)[\w-]+)?"
_CLASS_BESIDE = regex.compile(
    r"\s+(?:(?:an?|any|every|another|some|either)\s+)*"
    rf"((?!the\b){_NOUN}(?:(?:,| or| and)(?: an?)? {_NOUN}){{0,3}})"
)
_UNSAID = "\N{OBJECT REPLACEMENT CHARACTER}"


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


def _classes_beside(affirmed: str, side: Role) -> frozenset[str]:
    """The classes named right behind a cue of that role."""
    named: frozenset[str] = frozenset()
    for cue in CUE.finditer(affirmed):
        if role_of(cue) == side:
            found = _CLASS_BESIDE.match(affirmed, cue.end())
            named |= classes_named(found[1]) if found else frozenset()
    return named


def _blank(text: str, spans: list[tuple[int, int]], by: str = " ") -> str:
    """The text with the spans overwritten, so that offsets stay true."""
    for start, end in spans:
        text = text[:start] + by * (end - start) + text[end:]
    return text


def _unquote(text: str) -> str:
    return _QUOTED.sub(lambda m: next(g for g in m.groups() if g is not None), text).strip(" ,;:")
