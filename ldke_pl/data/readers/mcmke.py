"""MC-MKE (arXiv 2406.13219): edits of what a picture shows (ie), of what is known about it (iro) and of a text (sro).

Its edit files hold an edit per line; the files of probes beside them name the edit that a line is about by its index.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.mcmke_files import Scenario, edit_files, probed_edits
from ldke_pl.data.readers.parse import ParsedFile, parse_values
from ldke_pl.data.records import EditCase, EditRequest, Probe, ProbeKind

_PARAPHRASES = 5
"""How many wordings of its question the authors test for an edit, the question itself first."""


def read_mcmke(path: Path, root: Path | None) -> ParsedFile:
    """Read edits and their probes; a case's group is "ie", "iro" or "sro", its entity the subject.

    An edit is made with the cloze prompt, and asked about as a question: text generality. Consistency (the fact asked
    in the other modality, or what follows from it) is portability of one hop.

    Args:
        path: an edit file; a file of probes, for the edits of the edit file beside it with these probes only; or a
            folder, for every edit file in or below it.
        root: the folder that holds ``images/``, where the authors' absolute paths are cut.

    Raises:
        DataError: a file cannot be read, or there is no edit file.
    """
    found, only = edit_files(path)
    parts = [_read_edits(file, root, only) for file in found]
    return ParsedFile(
        [case for part in parts for case in part.cases],
        [problem for part in parts for problem in part.problems],
        sum(part.n_rows for part in parts),
    )


def _read_edits(path: Path, root: Path | None, only: Collection[ProbeKind]) -> ParsedFile:
    """Read an edit file; ``only`` names the kinds of probes to keep beside reliability, none for all."""
    edits = probed_edits(path)

    def parse_row(row: Fields, case_id: str) -> list[EditCase]:
        case = _case(row, case_id, edits.scenario)
        kept = tuple(p for p in case.probes if not only or p.kind in only or p.kind is ProbeKind.RELIABILITY)
        return [replace(case, probes=kept)]

    parsed = parse_values("mcmke", path, edits.rows, root, parse_row)
    named = [replace(p, file=edits.origin(p.row, p.key)) for p in parsed.problems]
    return ParsedFile(parsed.cases, [*named, *edits.problems], parsed.n_rows)


def _case(row: Fields, case_id: str, scenario: Scenario) -> EditCase:
    row.require((scenario.index, scenario.old, *(("images",) if scenario.pictured else ())))
    pictures = row.images("images") if scenario.pictured else []
    request = EditRequest(
        pictures[0] if pictures else None, row.text(scenario.prompt), row.text(scenario.target), scenario.kind
    )
    if scenario.pictured and not pictures:
        row.fault("images", "is empty")
    relation = row.text(scenario.relation) if scenario.relation else scenario.name
    return EditCase(
        case_id=case_id,
        request=request,
        probes=(
            *_edit_probes(row, request, pictures, scenario, relation),
            *_locality(row, scenario),
            *_consistency(row, scenario, relation),
        ),
        group=scenario.name,
        entity=row.text(scenario.subject),
        relation=relation,
        old_answer=row.text(scenario.old),
    )


def _edit_probes(
    row: Fields, request: EditRequest, pictures: list[Path], scenario: Scenario, relation: str
) -> Iterator[Probe]:
    image, prompt, target, entity = request.image, request.prompt, request.target, row.text(scenario.subject)
    yield Probe(ProbeKind.RELIABILITY, image, prompt, target, entity, relation)
    for question in _questions(row, scenario)[:_PARAPHRASES]:
        yield Probe(ProbeKind.TEXT_GENERALITY, image, question, target, entity, relation)
    for other in row.images("generality_images") or pictures[1:]:
        yield Probe(ProbeKind.IMAGE_GENERALITY, other, prompt, target, entity, relation)


def _questions(row: Fields, scenario: Scenario) -> list[str]:
    """The file of probes has a list of them; without it, what the edit itself says."""
    key = f"{scenario.name}_question_paraphrases"
    asked = [*row.texts(scenario.question), *row.texts("para_question")]
    if not row.filled(key):
        return asked
    if not row.holds_object(key):
        return row.texts(key)
    own = row.child(key)
    return [*asked, *(own.texts(f"{scenario.name}_ques_paraphrases") if own else [])]


def _locality(row: Fields, scenario: Scenario) -> Iterator[Probe]:
    """What other edits of the file are about must stay; each is asked as a question."""
    kind = ProbeKind.IMAGE_LOCALITY if scenario.pictured else ProbeKind.TEXT_LOCALITY
    asked = row.child("locality_test_dict")
    for key in asked.keys if asked else ():
        item = asked.child(key) if asked else None
        if item is not None:
            image = item.image("image") if scenario.pictured else None
            answer = item.optional_text("orig_loc_ent") or item.optional_text("orig_loc_output_ent")
            entity, relation = item.optional_text("entity") or "", item.optional_text("relation") or ""
            yield Probe(kind, image, item.text(f"{scenario.name}_question"), answer, entity, relation)


def _consistency(row: Fields, scenario: Scenario, relation: str) -> Iterator[Probe]:
    image, prompt, answer = scenario.consistency
    if row.filled(prompt):
        shown, entity = row.optional_image(image), row.text(scenario.subject)
        yield Probe(ProbeKind.PORTABILITY_1, shown, row.text(prompt), row.text(answer), entity, relation)
