"""Which probes can be scored when several edits are in force."""

from ldke_pl.data import EditCase, EditRequest, Probe, ProbeKind, scored_together


def case(name: str, entity: str, relation: str, *probes: Probe) -> EditCase:
    return EditCase(name, EditRequest(None, "Who leads it?", "Ada"), probes, entity=entity, relation=relation)


def test_locality_probes_that_another_edit_answers_are_left_out() -> None:
    kept = Probe(ProbeKind.ENTITY_LOCALITY, None, "q", entity="Balumo", relation="capital")
    answered = Probe(ProbeKind.ENTITY_LOCALITY, None, "q", entity="Balumo", relation="leader")
    relevant = Probe(ProbeKind.TEXT_GENERALITY, None, "q", entity="Balumo", relation="leader")
    nameless = Probe(ProbeKind.TEXT_LOCALITY, None, "q")
    first = case("a", "Balumo", "currency", kept, answered, relevant, nameless)
    second = case("b", "Balumo", "leader", answered)
    assert scored_together([first, second]) == [[True, False, True, True], [False]]
    assert scored_together([first]) == [[True, True, True, True]]


def test_an_edit_of_unknown_relation_answers_nothing() -> None:
    nameless = Probe(ProbeKind.TEXT_LOCALITY, None, "q", entity="Balumo")
    assert scored_together([case("a", "Balumo", "", nameless)]) == [[True]]
