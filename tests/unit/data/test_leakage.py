"""What two sets share, and each without it."""

from dataclasses import replace

from ldke_pl.data import (
    EditCase,
    EditRequest,
    Overlap,
    Probe,
    ProbeKind,
    clean_evaluation,
    clean_training,
    find_leakage,
)

P = ProbeKind


def case(name: str, image: str | None, prompt: str, target: str, *probes: Probe) -> EditCase:
    own = Probe(P.RELIABILITY, image, prompt, target)
    return EditCase(name, EditRequest(image, prompt, target), (own, *probes))


def kinds(found: EditCase) -> list[ProbeKind]:
    return [probe.kind for probe in found.probes]


RIDING = Probe(P.IMAGE_LOCALITY, "horse.jpg", "Which sport?", "riding")
NOVEL = Probe(P.TEXT_LOCALITY, None, "who wrote it", "Nela")
TRAIN = [case("t0", "boat.jpg", "Colour?", "green", RIDING), case("t1", "kite.jpg", "How many?", "three", NOVEL)]
OTHER = Probe(P.IMAGE_LOCALITY, "tent.jpg", "Which sport?", "camping")
REPEAT = Probe(P.TEXT_GENERALITY, "sail.jpg", "Colour?", "green")
EVAL = [
    case("e0", "boat.jpg", "Colour?", "green", OTHER),
    case("e1", "boat.jpg", "Which boat?", "Gull", RIDING, NOVEL),
    case("e2", "sail.jpg", "Colour?", "green", REPEAT, RIDING),
    case("e3", None, "Colour?", "three", Probe(P.TEXT_GENERALITY, None, "Hue?", "three")),
]


def test_everything_shared_is_counted() -> None:
    found = find_leakage(TRAIN, EVAL)
    assert found.requests == Overlap(1, 4, 1)
    assert found.images == Overlap(1, 2, 2)
    assert found.answers == Overlap(2, 3, 3)
    assert found.questions == {
        P.RELIABILITY: Overlap(1, 4, 1),
        P.TEXT_GENERALITY: Overlap(0, 2, 0),
        P.TEXT_LOCALITY: Overlap(1, 1, 1),
        P.IMAGE_LOCALITY: Overlap(1, 2, 2),
    }
    assert found.rephrase_is_prompt == 1


def test_sets_without_anything_in_common_leak_nothing() -> None:
    apart = [case("e", "new.jpg", "What?", "cup", OTHER)]
    found = find_leakage(TRAIN, apart)
    assert {found.requests.shared, found.images.shared, found.answers.shared} == {0}
    assert clean_evaluation(apart, TRAIN) == apart
    assert clean_training(TRAIN, apart) == TRAIN


def test_evaluation_loses_requests_and_probes_of_the_training_set() -> None:
    kept = clean_evaluation(EVAL, TRAIN)
    assert [(c.case_id, kinds(c)[1:]) for c in kept] == [("e1", []), ("e2", []), ("e3", [P.TEXT_GENERALITY])]
    assert all(c.probes[0].kind is P.RELIABILITY for c in kept)
    found = find_leakage(TRAIN, kept)
    assert (found.requests.shared, found.rephrase_is_prompt) == (0, 0)
    assert {kind: o.shared for kind, o in found.questions.items() if kind is not P.RELIABILITY} == {
        P.TEXT_GENERALITY: 0
    }


def test_question_with_another_target_stays_but_for_its_probes() -> None:
    again = [case("e", "kite.jpg", "How many?", "four", NOVEL)]
    (kept,) = clean_evaluation(again, TRAIN)
    assert kinds(kept) == [P.RELIABILITY]


def test_training_loses_what_the_evaluation_asks_or_edits() -> None:
    shown = Probe(P.IMAGE_LOCALITY, "sail.jpg", "What sails?", "boat")
    new = Probe(P.IMAGE_LOCALITY, "new.jpg", "Which sport?", "chess")
    train = [
        *TRAIN,
        case("t2", None, "Colour?", "red"),
        case("t3", "cup.jpg", "Colour?", "green", RIDING, shown, new),
        case("t4", "boat.jpg", "How long?", "three"),
    ]
    kept = clean_training(train, EVAL)
    assert [(c.case_id, c.probes[1:]) for c in kept] == [("t1", ()), ("t3", (new,))]
    left = find_leakage(kept, EVAL)
    assert left.images.shared == left.requests.shared == 0
    assert not any(overlap.shared for overlap in left.questions.values())


def test_cases_that_are_kept_change_in_nothing_else() -> None:
    source = replace(EVAL[1], group="picture", old_answer="Tern", joint=False)
    (kept,) = clean_evaluation([source], TRAIN)
    assert kept == replace(source, probes=source.probes[:1])
