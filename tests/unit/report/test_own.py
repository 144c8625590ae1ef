"""What is told of edits of one's own: the right rows, whole texts at every width, nothing taken for markup."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console

from ldke_pl.data.made import FROM_OTHER, MADE
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.own import Told, print_edits, told

MakeRow = Callable[..., ProbeResult]


def printed(edits: list[Told], width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        print_edits(edits, console)
    return captured.get()


def joined(text: str) -> str:
    """Printed text without the breaks and gaps that its width brings."""
    return "".join(text.split())


def test_the_first_seed_with_all_edits_in_force_is_told(make_row: MakeRow) -> None:
    rows = [make_row(mode="single", score=0.0), make_row(mode="joint"), make_row(mode="joint", case_id="c1")]
    rows += [make_row(mode="joint", seed=1), make_row(mode="joint", method="lora"), make_row(protocol="masked")]
    assert [(edit.own, edit.took) for edit in told(rows, "ldke")] == [(rows[1], True), (rows[2], True)]
    assert [edit.own for edit in told(rows[:1], "ldke")] == rows[:1]
    assert told([], "ldke") == []


def test_probes_are_told_by_what_they_must_do(make_row: MakeRow) -> None:
    kept = {"kind": "text_locality", "relevant": False}
    rows = [make_row(), make_row(kind="portability_1"), make_row(kind="text_generality", score=0.0)]
    rows += [make_row(**kept), make_row(**kept, score=0.0)]
    (edit,) = told(rows, "ldke")
    assert (edit.same, edit.missed) == (rows[1:3], rows[2:3])
    assert (edit.others, edit.side_effects) == (rows[3:], rows[4:])


def test_a_block_says_what_became_of_the_edit(make_row: MakeRow) -> None:
    change: dict[str, Any] = {"kind": "finegrained_locality", "relevant": False, "score": 0.0, "image": "cup.png"}
    rows = [
        make_row(image="cup.png", prompt="Whose [b]cup[/b]?", expected="Ada", before="[red]Bo", after="Ada"),
        make_row(kind="text_generality", score=0.0, prompt="whose cup?", after="", expected="Ada"),
        make_row(**change, prompt="What colour?", before="red", after="blue", relation=f"{MADE}x"),
        make_row(**change, prompt="Whose jug?", before="Bo", after="Ada", relation=FROM_OTHER),
        make_row(**change | {"score": 1.0}, prompt="How big?"),
    ]
    text = printed(told(rows, "ldke"))
    assert "edit 1 of 1: c0, ldke alone: took" in text
    for line in (
        "question      Whose [b]cup[/b]?",
        "before        [red]Bo",
        "after         Ada",
        "sites         connector",
        "routed to     this edit, e0",
        "spread        0 of 1 variations and related questions answered as wanted",
        '"whose cup?" (no picture): (no answer), wanted Ada',
        "side effects  2 of 3 other questions changed their answer",
        '"What colour?" [made: x]: red -> blue',
        "Bo -> Ada (the target: perhaps it asks the same)",
    ):
        assert joined(line) in joined(text), line


def test_an_edit_that_did_not_take_says_where_its_question_went(make_row: MakeRow) -> None:
    lost = {"score": 0.0, "after": "x", "after_unrouted": "y"}
    rows = [make_row(**lost, route="base"), make_row(**lost, case_id="c1", edit_id="e1", route="e0")]
    rows += [make_row(**lost, case_id="c2", edit_id="", route="", sites="")]
    rows = [replace(row, mode="joint") for row in rows]
    text = joined(printed(told(rows, "ldke")))
    assert joined("c0, ldke: did not take") in text
    assert joined("routed to base; under this edit, e0, the answer would be y") in text
    assert joined("routed to another edit, e0 (who?); under this edit, e1,") in text
    assert joined("routed to nothing: this method makes no edit") in text


def test_nothing_is_cut_on_a_narrow_terminal(make_row: MakeRow) -> None:
    rows = [make_row(prompt="word " * 40, before="x" * 200, after="long " * 50, image="/a/" + "b" * 90)]
    text = printed(told(rows, "ldke"), width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert "…" not in text
    for whole in ("word" * 40, "x" * 200, "long" * 50, "b" * 90):
        assert whole in joined(text)


def test_characters_that_steer_a_terminal_are_not_printed(make_row: MakeRow) -> None:
    assert "\x1b" not in printed(told([make_row(after="\x1b[2Jgone\nline")], "ldke"))


def test_many_side_effects_are_counted(make_row: MakeRow) -> None:
    rows = [make_row(), *(make_row(kind="text_locality", relevant=False, score=0.0, prompt=f"{n}?") for n in range(7))]
    assert "and 4 more in results.csv" in printed(told(rows, "ldke"))
