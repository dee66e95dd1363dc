from __future__ import annotations

import pytest

from stages.lexical import parse


def terms(explanation: str) -> dict[str, str]:
    return {term.text: term.role for term in parse(explanation).terms}


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ("the word 'more'", {"more": "target"}),
        ("'to' after 'proud'", {"to": "target", "proud": "before"}),
        ("'to' preceded by 'proud'", {"to": "target", "proud": "before"}),
        ("words negated by 'not'", {"not": "before"}),
        ("nouns modified by 'big' or 'large'", {"big": "before", "large": "before"}),
        ("'the' followed by 'best'", {"the": "target", "best": "after"}),
        ("'the' before 'best'", {"the": "target", "best": "after"}),
        ("words beginning with 'autom'", {"autom": "prefix"}),
        ("words ending in 'ous'", {"ous": "suffix"}),
        ("'-ing' and 'un-'", {"-ing": "suffix", "un-": "prefix"}),
        ("the year 18xx", {"18xx": "prefix"}),
        ("'19XX' dates", {"19XX": "prefix"}),
        ("the digits 0xff", {"0xff": "target"}),
        ("'to' as in 'proud to announce'", {"to": "target", "proud to announce": "example"}),
        ("'to' after a word like 'proud'", {"to": "target", "proud": "before"}),
        ("'to' after a verb, like 'want to'", {"to": "target", "want to": "example"}),
        ("names that follow 'Dr.'", {"Dr.": "before"}),
        ("nouns introduced by 'the'", {"the": "before"}),
        ("'about' meaning 'nearly'", {"about": "target", "nearly": "gloss"}),
        ("words that mean 'nearly'", {"nearly": "target"}),
        ("prepositions before times: 'at', 'on'", {"at": "target", "on": "target"}),
        ("'all' at the end ('best of all')", {"all": "target", "best of all": "example"}),
        ("answers ('yes', 'no')", {"yes": "example", "no": "example"}),
        ("names between 'for' and 'in'", {"for": "before", "in": "after"}),
        ("never between 'for' and 'in'", {"for": "excluded", "in": "excluded"}),
        (":", {":": "target"}),
        ("':'", {":": "target"}),
        ("=> +", {"=>": "target", "+": "target"}),
        ("words ending in -ing or -ed", {"-ing": "suffix", "-ed": "suffix"}),
        ("un- and re- at the start of verbs", {"un-": "prefix", "re-": "prefix"}),
        ("'to' after '-ing'", {"to": "target", "-ing": "before"}),
        ("a well-known state-of-the-art - or not", {}),
        ("'door', not 'next door'", {"door": "target", "next door": "excluded"}),
        ("'of', but not when 'our' comes next", {"of": "target", "our": "excluded"}),
        ("'of' when 'our' comes next", {"of": "target", "our": "after"}),
        ("'a' with 'b' or 'c' right before it", {"a": "target", "b": "before", "c": "before"}),
        ("'to' after it is 'best'", {"to": "target", "best": "before"}),
        ("'to' before a following 'x'", {"to": "target", "x": "after"}),
        ("'to' with a preceding 'x'", {"to": "target", "x": "before"}),
        ("'mean' without 'not' before it", {"mean": "target", "not": "excluded"}),
        ("'blame' in any form, 'fault'", {"blame": "target", "fault": "target"}),
        ("'one' after a verb ('had one')", {"one": "target", "had one": "example"}),
        ("'so' rather than 'very'", {"so": "target", "very": "excluded"}),
    ],
)
def test_the_cue_before_a_quotation_gives_its_role(
    explanation: str, expected: dict[str, str]
) -> None:
    assert terms(explanation) == expected


def test_a_list_shares_one_cue() -> None:
    assert terms("'to' after 'proud', 'happy' or 'able'") == {
        "to": "target",
        "proud": "before",
        "happy": "before",
        "able": "before",
    }


def test_a_cue_far_back_belongs_to_something_else() -> None:
    assert terms("after a verb of sudden motion, usually 'from'") == {"from": "target"}
    assert terms("after the verb 'from'") == {"from": "before"}
