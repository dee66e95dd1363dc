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
gloss        says what a word means                          'about' meaning **'nearly'**
===========  ==============================================  ====================================
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import regex

from stages.marks import marks
from stages.mentions import first_mentions, mentions
from stages.places import places_named
from stages.vocabulary import classes_named, content_words, stem, word_lists, words_of

Role = Literal["target", "example", "before", "after", "prefix", "suffix", "excluded", "gloss"]

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
_ALL_BUT = (
    r"(?:any|every)thing but|all but|(?:other|else) than|except(?: for)?|excluding"
    r"|a(?:part|side) from"
)
_EXCLUDES = rf"{_ALL_BUT}|not|never|rather than|instead of|unlike"

# The last cue before a quotation decides its role; a list ("'a', 'b' or 'c'") shares one cue.
_ROLE_CUES: tuple[tuple[Role, str], ...] = (
    (
        "gloss",
        r"(?:mean(?:s|ing)?|(?:sense|meaning) of|st(?:ands?|anding) for|short for)"
        r"(?=\s*(?:something like |roughly |simply )?$)",
    ),
    ("excluded", rf"{_EXCLUDES}|but no"),
    ("prefix", r"(?:begin|start)(?:s|ning|ing)? (?:with|in)|prefix(?:es)?(?: like)?"),
    ("suffix", r"end(?:s|ing)? (?:in|with)|suffix(?:es)?(?: like)?"),
    ("before", r"after|follow(?:s|ing)?|(?:preced|introduc|govern|open)ed by|comes? after|behind"),
    ("after", r"before|followed by|preced(?:es|ing)|introducing|ahead of|in front of"),
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
# A phrase in brackets shows what was said before them: "'all' at the end ('best of all')".
_ASIDE = regex.compile(r"\w[^()]*\(\s*$|^\s*\(\s*$")
_BETWEEN = regex.compile(r"\bbetween\s+(?:the\s+)?$", regex.IGNORECASE)
_FOR_INSTANCE = regex.compile(r"such as|like|including", regex.IGNORECASE)
_SYNONYMS = regex.compile(
    r"\W*(?:(?:an?|the|any|all|some) )?(?:word|term|token|phrase|expression|verb|noun|adjective"
    r"|adverb|preposition|conjunction|gesture)s? (?:(?:that|which) )?",
    regex.IGNORECASE,
)
# "Prepositions before times: 'at'": what is listed is what fires.
_LISTED = regex.compile(r"\s+\w[^:]*:\s*$")
_DESCRIBED = regex.compile(r"\s+(?:[\w'-]+\s+){1,5}")
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
    terms: list[Term] = []
    role: Role = "target"
    last, is_pair, is_aside = 0, False, False
    for start, end, content in sorted([*said, *named]):
        between = text[last:start]
        words = tuple(words_of(content.strip("-…")) or words_of(content))
        in_list = last and _LIST_JOINT.fullmatch(between)
        if not in_list:
            is_aside = len(words) > 1 and bool(_ASIDE.search(between))
        # "Between 'a' and 'b'" names the word before and the one after.
        if is_pair and between.strip() == "and":
            role, is_pair = "after", False
        elif _BETWEEN.search(between) and _role(between) != "excluded":
            role, is_pair = "before", True
        elif not in_list:
            role, is_pair = _role(between), False
        last = end
        own = None if role in ("before", "after") else _affix_role(content)
        if is_aside and len(words) > 1 and role != "excluded":
            own = "example"
        if words:
            stems = tuple(stem(word) for word in words)
            terms.append(Term(content, words, stems, own or role))
    return tuple(terms), [(start, end) for start, end, _ in said]


def _marks(text: str) -> list[tuple[int, int, str]]:
    """Start and end of each mark's name, and the mark, one of a kind ("brackets") at a time."""
    quoted = [(start, end) for start, end, _ in _quotations(text)]
    found = marks(text, quoted, word_lists()["stop"], _LIST_JOINT.fullmatch)
    return [(mark.start, mark.end, char) for mark in found for char in mark.characters]


def _quotations(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of each; where nothing but marks stands, these are meant."""
    found = [
        (*match.span(), next(group for group in match.groups() if group is not None))
        for match in _QUOTED.finditer(text)
    ]
    if found or _WORDY.search(text):
        return found
    return [(*match.span(), match[0]) for match in _MARKS.finditer(text)]


def _said(text: str, named: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Start, end and content of what is quoted, or else named without quotation marks."""
    lists, quoted = word_lists(), _quotations(text)
    if quoted:
        bare = _blank(text, [(start, end) for start, end, _ in quoted], _UNSAID)
        first = first_mentions(bare, lists["stop"])
        return quoted + [(start, end, text[start:end]) for start, end in first]
    spans = mentions(text, lists["stop"], lists["meta"], lambda said: bool(classes_named(said)))
    return [
        (start, end, text[start:end])
        for start, end in spans
        if not any(start < other_end and other_start < end for other_start, other_end, _ in named)
    ]


def _role(between: str) -> Role:
    """The role that the words before a quotation give it."""
    cues = list(_CUE.finditer(between))
    # A cue far back belongs to something else: "after a verb of motion, usually 'from'".
    if not cues or len(words_of(between[cues[-1].end() :])) > _CUE_REACH:
        return "target"
    last, said = _role_of(cues[-1]), between[cues[-1].end() :]
    if last in ("before", "after") and _LISTED.match(said):
        return "target"
    if last == "gloss" and _SYNONYMS.fullmatch(between[: cues[-1].start()]):
        return "target"
    if len(cues) > 1 and _FOR_INSTANCE.fullmatch(cues[-1][0]):
        # Examples of what stands beside: "after adjectives such as 'proud'".
        beside, described = _role_of(cues[-2]), between[cues[-2].end() : cues[-1].start()]
        if beside in ("before", "after") and _DESCRIBED.fullmatch(described):
            return beside
    return last


def _role_of(cue: regex.Match[str]) -> Role:
    return next(role for role, _ in _ROLE_CUES if cue[role] is not None)


_NOUN = r"[\w-]+(?: (?!(?:or|and)\b)[\w-]+)?"
_CLASS_BESIDE = regex.compile(
    r"\s+(?:(?:an?|any|every|another|some|either)\s+)*"
    rf"((?!the\b){_NOUN}(?:(?:,| or| and)(?: an?)? {_NOUN}){{0,3}})"
)
_CUE_REACH = 4
_UNSAID = "\N{OBJECT REPLACEMENT CHARACTER}"


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


def _classes_beside(affirmed: str, side: Role) -> frozenset[str]:
    """The classes named right behind a cue of that role."""
    named: frozenset[str] = frozenset()
    for cue in _CUE.finditer(affirmed):
        if cue[side] is not None:
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
