"""What the cheap stage is blind to, so that the gate knows when its evidence says nothing."""

from __future__ import annotations

import regex

from pipeline.records import Request
from stages.lexical import Explanation, parse
from stages.vocabulary import word_lists, words_of

_LETTER, _READ = regex.compile(r"\p{L}"), regex.compile(r"\p{Latin}")

# Where lines break is in none of the words.
_LAYOUT = regex.compile(
    r"\b(?:new ?lines?|line[- ]?(?:breaks?|feeds?|initial)|indent(?:s|ed|ation)|white ?spaces?"
    r"|(?:start|beginning|end|(?:first|last) (?:word|token)s?) of (?:(?:an?|the|each|every|new) )*"
    r"(?:lines?|list items?)|bulleted lists?|bullet[- ]points?)\b",
    regex.IGNORECASE,
)
_FOREIGN = 2  # function words of other languages that show an explanation to be in one


def blind_share(request: Request) -> float:
    """The share of a request that the cheap stage cannot judge, 0-1.

    Of the records, that is what activates on tokens that hold no word (blanks, line breaks), by
    its share of the variance. An explanation in letters that the encoder hardly knows cannot be
    judged, nor one in another language, nor one that speaks of lines, nor one that says nothing
    but where the neuron does not fire ("anything but animals").
    """
    parsed = parse(request.explanation)
    said = _unquoted(parsed)
    if parsed.complement or parsed.only_excludes or _LAYOUT.search(said):
        return 1.0
    return 1.0 - (1.0 - _wordless(request)) * (1.0 - _unread(said))


def _wordless(request: Request) -> float:
    values = request.true_values
    deviations = (values - values.mean()) ** 2
    start, wordless = 0, 0.0
    for text in request.texts:
        end = start + len(text.spans)
        wordless += float(deviations[start:end][text.token_words < 0].sum())
        start = end
    return wordless / (float(deviations.sum()) or 1.0)


def _unquoted(parsed: Explanation) -> str:
    said = parsed.text
    for term in parsed.terms:
        said = regex.sub(rf"(?<!\w){regex.escape(term.text)}(?!\w)", " ", said)
    return said


def _unread(said: str) -> float:
    """The share that is not English; what is quoted is looked up in any language.

    By its letters, or, if these are Latin, all of it by its function words: of a label of a few
    words without any the language is not told.
    """
    words = words_of(said)
    foreign, english = (sum(w in word_lists()[of] for w in words) for of in ("foreign", "stop"))
    if foreign >= _FOREIGN and foreign > english:
        return 1.0
    letters = _LETTER.findall(said)
    return 1.0 - sum(map(bool, map(_READ.match, letters))) / len(letters) if letters else 0.0
