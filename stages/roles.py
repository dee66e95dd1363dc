"""What the quotations in an explanation are for: it is in the words before and behind them.

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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import regex

from stages.vocabulary import words_of

Role = Literal["target", "example", "before", "after", "prefix", "suffix", "excluded", "gloss"]
BESIDE: frozenset[Role] = frozenset(("before", "after"))

ALL_BUT = (
    r"(?:any|every)thing but|all but|(?:other|else) than|except(?: for)?|excluding"
    r"|a(?:part|side) from"
)
EXCLUDES = (
    rf"{ALL_BUT}|not|never|rather than|instead of|unlike"
    r"|(?:silent|inactive) (?:for|on|in|at)"
)

# The last cue before a quotation decides its role; a list ("'a', 'b' or 'c'") shares one cue.
_ROLE_CUES: tuple[tuple[Role, str], ...] = (
    (
        "gloss",
        r"(?:mean(?:s|ing)?|(?:sense|meaning) of|st(?:ands?|anding) for|short for)"
        r"(?=\s*(?:something like |roughly |simply )?$)",
    ),
    ("excluded", rf"{EXCLUDES}|but no|without|with no"),
    ("prefix", r"(?:begin|start)(?:s|ning|ing)? (?:with|in)|prefix(?:es)?(?: like)?"),
    ("suffix", r"end(?:s|ing)? (?:in|with)|suffix(?:es)?(?: like)?"),
    # "A following 'x'" stands behind; what is "following 'x'" has it before.
    ("after", r"(?<=\b(?:an?|the|any|by)\s)following"),
    ("before", r"(?<=\b(?:an?|the|any|by)\s)preceding"),
    (
        "before",
        r"after|follow(?:s|ing)?|(?:preced|introduc|govern|open|negat)ed by"
        r"|(?:modi|intensi|quali)fied by|comes? after|behind",
    ),
    ("after", r"before|followed by|preced(?:es|ing)|introducing|ahead of|in front of"),
    (
        "example",
        r"as in|such as|like|e\.?g\.?|i\.?e\.?|for (?:example|instance)|including"
        r"|phrases?|expressions?|contexts?|inside|in(?! (?:any|all|every|either|both)\b)",
    ),
)
CUE = regex.compile(
    "|".join(f"(?P<c{i}>\\b(?:{cue})(?=\\W|$))" for i, (_, cue) in enumerate(_ROLE_CUES)),
    regex.IGNORECASE,
)
_CUE_REACH = 4
# "When 'x' comes next", "with 'x' right before it".
_WHERE = r"(?:(?:directly|right|immediately|just|soon|comes?|stands?|goes|is|are|that|which)\s)*"
_IT = r"(?:\s(?:it|them|directly|immediately))?(?=\s*(?:$|[,.;:)]|(?:and|or|to|as|in)\b))"
_SIDES: tuple[tuple[Role, str], ...] = (
    ("after", "follows?|next|after|behind"),
    ("before", "precedes?|before|in front(?: of)?"),
)
_BEHIND = [
    (side, regex.compile(rf"\s+{_WHERE}(?:{cue}){_IT}", regex.IGNORECASE)) for side, cue in _SIDES
]
# A phrase in brackets shows what was said before them: "'all' at the end ('best of all')".
_ASIDE = regex.compile(r"\w[^()]*\(\s*$|^\s*\(\s*$")
_BETWEEN = regex.compile(r"\bbetween\s+(?:the\s+)?$", regex.IGNORECASE)
_FOR_INSTANCE = regex.compile(r"such as|like|including|phrases?|expressions?", regex.IGNORECASE)
_SYNONYMS = regex.compile(
    r"\W*(?:(?:an?|the|any|all|some) )?(?:word|term|token|phrase|expression|verb|noun|adjective"
    r"|adverb|preposition|conjunction|gesture)s? (?:(?:that|which) )?",
    regex.IGNORECASE,
)
# "Prepositions before times: 'at'": what is listed is what fires.
_LISTED = regex.compile(r"\s+\w[^:]*:\s*$")
_DESCRIBED = regex.compile(r"\s+(?:[\w'-]+\s+){1,5}")
_GAP = regex.compile(
    r"_{2,}|\.{3}|…|\[\p{L}[\p{L} /,-]*\]|<(?:noun|verb|adjective|adverb|word|name|number)>"
    r"|(?<=\p{Ll} )[XYZN]\b|\b[XYZN](?= \p{Ll})|(?<=^\d{1,3})[xX]{1,3}$"
)
LIST_JOINT = regex.compile(
    r"[\s,;/()]*(?:(?:or|and|and/or|as well as)\b[\s,]*)?(?:(?:an?|the)\s)?", regex.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Quotation:
    """What is quoted, or named without quotation marks, and where it stands."""

    start: int
    end: int
    content: str

    @property
    def words(self) -> tuple[str, ...]:
        """Lowercase; gaps ("in ___", "one of the [adjective]", "let X be", "18xx") hold none."""
        said = _GAP.sub(" ", self.content)
        return tuple(words_of(said.strip("-… ")) or words_of(self.content))


def roles(text: str, quotations: Sequence[Quotation]) -> Iterator[tuple[Quotation, Role]]:
    """The role of each of them, which stand in order and do not overlap."""
    targets: set[str] = set()
    end = 0
    for one in _lists(text, quotations):
        before, end = text[end : one[0].start], one[-1].end
        for quotation, shared in zip(one, _shared(text, one, before), strict=True):
            role = _own(quotation, shared, bool(_ASIDE.search(before)))
            if role in BESIDE and len(quotation.words) > 1 and targets & set(quotation.words):
                role = "example"
            if role == "target":
                targets.update(quotation.words)
            yield quotation, role


def _lists(text: str, quotations: Sequence[Quotation]) -> Iterator[list[Quotation]]:
    one = list(quotations[:1])
    for last, quotation in pairwise(quotations):
        if not LIST_JOINT.fullmatch(text, last.end, quotation.start):
            yield one
            one = []
        one.append(quotation)
    if one:
        yield one


def _shared(text: str, one: Sequence[Quotation], before: str) -> list[Role]:
    """The roles that the words around a list give what stands in it."""
    role = role_behind(before)
    if role == "excluded":
        return [role] * len(one)
    if _BETWEEN.search(before):
        # "Between 'a' and 'b'" names the word before and the one after.
        joints = [text[a.end : b.start].strip() for a, b in pairwise(one)]
        last = joints.index("and") + 1 if "and" in joints else len(one)
        return ["before" if number < last else "after" for number in range(len(one))]
    if role not in BESIDE:
        role = next((side for side, cue in _BEHIND if cue.match(text, one[-1].end)), role)
    return [role] * len(one)


def role_behind(before: str) -> Role:
    """The role of what stands behind these words."""
    cues = list(CUE.finditer(before))
    # A cue far back belongs to something else: "after a verb of motion, usually 'from'".
    if not cues or len(words_of(before[cues[-1].end() :])) > _CUE_REACH:
        return "target"
    last, said = role_of(cues[-1]), before[cues[-1].end() :]
    if last in BESIDE and _LISTED.match(said):
        return "target"
    if last == "gloss" and _SYNONYMS.fullmatch(before[: cues[-1].start()]):
        return "target"
    if len(cues) > 1 and _FOR_INSTANCE.fullmatch(cues[-1][0]):
        # Examples of what stands beside: "after adjectives such as 'proud'".
        beside, described = role_of(cues[-2]), before[cues[-2].end() : cues[-1].start()]
        if beside in BESIDE and _DESCRIBED.fullmatch(described):
            return beside
    return last


def role_of(cue: regex.Match[str]) -> Role:
    """The role that a match of `CUE` gives what stands behind it."""
    return next(role for i, (role, _) in enumerate(_ROLE_CUES) if cue[f"c{i}"] is not None)


def _own(quotation: Quotation, shared: Role, is_aside: bool) -> Role:
    """The role with what the quotation itself shows."""
    if is_aside and shared != "excluded":
        return "example"
    if shared not in BESIDE:
        if regex.fullmatch(r"-\p{L}+", quotation.content):
            return "suffix"
        if regex.fullmatch(r"\p{L}+-|\d{1,3}[xX]{1,3}", quotation.content):
            return "prefix"
    return shared
