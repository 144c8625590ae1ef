"""The keys that MMEdit, VLKEB and Atlas have in common, turned into a request and probes.

``src`` prompt, ``alt`` target, ``image``; ``rephrase`` and ``image_rephrase`` for generality; ``loc`` /
``loc_ans`` and ``m_loc`` (an image path) / ``m_loc_q`` / ``m_loc_a`` for locality; ``port_new`` for
portability (VLKEB, arXiv 2403.07350; the other keys: MMEdit, arXiv 2310.08475).
"""

from collections.abc import Iterator, Mapping

from ldke_pl.data.readers.fields import Fields, did_you_mean
from ldke_pl.data.records import EditRequest, Probe, ProbeKind

CORE_KEYS = ("src", "rephrase", "pred", "alt", "image")
PUBLISHED_KEYS = (*CORE_KEYS, "image_rephrase", "loc", "loc_ans", "m_loc", "m_loc_q", "m_loc_a")
"""The eleven keys of every published MMEdit and VLKEB row."""

_NQ_PREFIX = "nq question:"
_HOPS = {
    "1-hop": ProbeKind.PORTABILITY_1,
    "2-hop": ProbeKind.PORTABILITY_2,
    "3-hop": ProbeKind.PORTABILITY_3,
    "4-hop": ProbeKind.PORTABILITY_4,
}


def parse_request(row: Fields) -> EditRequest:
    """The fact to write: (``image``, ``src``, ``alt``)."""
    return EditRequest(row.image("image"), row.text("src"), row.text("alt"))


def parse_probes(
    row: Fields, request: EditRequest, relation: str = "", relations: Mapping[str, str] | None = None
) -> tuple[Probe, ...]:
    """All probes of the shared keys; a kind whose keys are all absent is absent.

    Args:
        row: the row.
        request: the row's request.
        relation: relation of the edit, and so of its reliability and generality probes.
        relations: relation by first key of the other probes: "loc", "m_loc", "port_new".
    """
    relations = relations or {}
    return (
        *_edit_probes(row, request, relation=relation),
        *_text_locality(row, relations.get("loc", "")),
        *_image_locality(row, relations.get("m_loc", "")),
        *_portability(row, request, relations.get("port_new", "")),
    )


def _edit_probes(row: Fields, request: EditRequest, relation: str) -> Iterator[Probe]:
    image, prompt, target = request.image, request.prompt, request.target
    yield Probe(ProbeKind.RELIABILITY, image, prompt, target, relation=relation)
    yield Probe(ProbeKind.TEXT_GENERALITY, image, row.text("rephrase"), target, relation=relation)
    if row.has("image_rephrase"):
        yield Probe(ProbeKind.IMAGE_GENERALITY, row.image("image_rephrase"), prompt, target, relation=relation)


def _text_locality(row: Fields, relation: str) -> Iterator[Probe]:
    if row.has("loc") or row.has("loc_ans"):
        prompt = row.text("loc").removeprefix(_NQ_PREFIX).strip()
        if not prompt:
            row.fault("loc", "is empty")
        yield Probe(ProbeKind.TEXT_LOCALITY, None, prompt, row.optional_text("loc_ans"), relation=relation)


def _image_locality(row: Fields, relation: str) -> Iterator[Probe]:
    if row.has("m_loc") or row.has("m_loc_q") or row.has("m_loc_a"):
        image, prompt = row.image("m_loc"), row.text("m_loc_q")
        yield Probe(ProbeKind.IMAGE_LOCALITY, image, prompt, row.optional_text("m_loc_a"), relation=relation)


def _portability(row: Fields, request: EditRequest, relation: str) -> Iterator[Probe]:
    for item in row.children("port_new"):
        kind, prompt, answer = _multi_hop(item) if item.has("port_type") else _one_hop(item)
        yield Probe(kind, request.image, prompt, answer, relation=relation)


def _one_hop(item: Fields) -> tuple[ProbeKind, str, str]:
    return ProbeKind.PORTABILITY_1, item.text("port_q"), item.text("port_a")


def _multi_hop(item: Fields) -> tuple[ProbeKind, str, str]:
    hops = item.text("port_type")
    if hops not in _HOPS:
        item.fault("port_type", f'"{hops}" is not a number of hops. {did_you_mean(hops, _HOPS)}')
    item.require(("Q&A",))
    pair = item.child("Q&A")
    question, answer = (pair.text("Question"), pair.text("Answer")) if pair else ("", "")
    return _HOPS.get(hops, ProbeKind.PORTABILITY_1), question, answer
