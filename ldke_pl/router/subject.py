"""What a question in words is about: an edit without a picture has nothing else that it can be known by. Ours.

A word that questions about many things share is no name. Which words those are is told from the questions that the
router was trained on.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

SHARED = 3
"""A word in questions about so many things is common."""

_WORD = re.compile(r"\w+")


def common_words(questions: Iterable[tuple[str, str]]) -> list[str]:
    """Words that are no names, in lower case and in alphabetical order.

    Args:
        questions: what each is about, and its text.
    """
    things: dict[str, set[str]] = defaultdict(set)
    for thing, text in questions:
        for word in _WORD.findall(text.lower()):
            things[word].add(thing)
    return sorted(word for word, found in things.items() if len(found) >= SHARED)


def subject_of(question: str, common: Sequence[str] = ()) -> str:
    """The thing that a question names: its longest run of words that are not common, the last of several as long.

    Words with a capital come first, then any; where no words are known as common, those with a capital behind the first
    word. Without such words it is the whole question, which then is recognised in much the same words alone.

    >>> subject_of("Who designed the Eiffel Tower?", ["who", "the"])
    'Eiffel Tower'
    >>> subject_of("What is the capital of Badadi?")
    'Badadi'
    """
    words = list(_WORD.finditer(question))
    capital = [word[0][0].isupper() for word in words]
    uncommon = [bool(common) and word[0].lower() not in common for word in words]
    named = [a and b for a, b in zip(capital, uncommon, strict=True)]
    chosen = next((marks for marks in (named, uncommon, [False, *capital[1:]]) if any(marks)), None)
    if chosen is None:
        return question
    first, last = _longest_run(chosen)
    return question[words[first].start() : words[last].end()]


def _longest_run(marks: Sequence[bool]) -> tuple[int, int]:
    """First and last place of the longest run of marks; there is one at least."""
    best, start = (0, -1), 0
    for place, mark in enumerate(marks):
        if not mark:
            start = place + 1
        elif place - start >= best[1] - best[0]:
            best = (start, place)
    return best
