"""The keys that most published sets have in common, turned into a request and probes.

``src`` prompt, ``alt`` target, ``image``; ``rephrase`` and ``image_rephrase`` for generality; ``loc`` /
``loc_ans`` and ``m_loc`` (an image path) / ``m_loc_q`` / ``m_loc_a`` for locality; ``port_new`` for
portability (VLKEB, arXiv 2403.07350; the other keys: MMEdit, arXiv 2310.08475).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ldke_pl.data.readers.fields import Fields, did_you_mean
from ldke_pl.data.records import EditRequest, ImageSource, Probe, ProbeKind

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


def require_published(row: Fields) -> None:
    """Note every published key that is missing or null; ``pred``, a note, may be null."""
    row.require([key for key in PUBLISHED_KEYS if key != "pred"])
    row.require_present(("pred",))


def parse_request(row: Fields) -> EditRequest:
    """The fact to write: (``image``, ``src``, ``alt``)."""
    return EditRequest(row.image("image"), row.text("src"), row.text("alt"))


def parse_probes(
    row: Fields, request: EditRequest, relation: str = "", relations: Mapping[str, str] | None = None
) -> tuple[Probe, ...]:
    """All probes of the shared keys; a kind whose keys are all absent or empty is absent.

    Args:
        row: the row.
        request: the row's request.
        relation: relation of the edit, and so of its reliability and generality probes.
        relations: relation by first key of the other probes: "loc", "m_loc", "port_new".
    """
    relations = relations or {}
    asked = portability_probes(row, request.image)
    return (
        *edit_probes(row, request, relation),
        *locality_probes(row, relations),
        *(replace(probe, relation=relations.get("port_new", "")) for probe in asked),
    )


def edit_probes(row: Fields, request: EditRequest, relation: str = "") -> Iterator[Probe]:
    """Reliability, and generality for every ``rephrase`` and ``image_rephrase``, of which there may be lists."""
    image, prompt, target = request.image, request.prompt, request.target
    yield Probe(ProbeKind.RELIABILITY, image, prompt, target, relation=relation)
    for rephrase in row.texts("rephrase"):
        yield Probe(ProbeKind.TEXT_GENERALITY, image, rephrase, target, relation=relation)
    for other in row.images("image_rephrase"):
        yield Probe(ProbeKind.IMAGE_GENERALITY, other, prompt, target, relation=relation)


def locality_probes(row: Fields, relations: Mapping[str, str] | None = None) -> Iterator[Probe]:
    """Text and image locality; ``relations`` as for :func:`parse_probes`."""
    relations = relations or {}
    if row.filled("loc") or row.filled("loc_ans"):
        prompt, relation = plain_question(row, "loc"), relations.get("loc", "")
        yield Probe(ProbeKind.TEXT_LOCALITY, None, prompt, row.optional_text("loc_ans"), relation=relation)
    if row.filled("m_loc") or row.filled("m_loc_q") or row.filled("m_loc_a"):
        image, prompt, relation = row.image("m_loc"), row.text("m_loc_q"), relations.get("m_loc", "")
        yield Probe(ProbeKind.IMAGE_LOCALITY, image, prompt, row.optional_text("m_loc_a"), relation=relation)


def plain_question(row: Fields, key: str) -> str:
    """A required question without the "nq question:" before those that MMEdit took from Natural Questions."""
    prompt = row.text(key).removeprefix(_NQ_PREFIX).strip()
    if not prompt:
        row.fault(key, "is empty")
    return prompt


def portability_probes(row: Fields, image: ImageSource | None) -> Iterator[Probe]:
    """One probe, about ``image``, per item of ``port_new``."""
    for item in row.children("port_new"):
        yield portability_probe(item, image)


def portability_probe(item: Fields, image: ImageSource | None) -> Probe:
    """The probe of one item of ``port_new``, in VLKEB's one-hop or multi-hop form."""
    kind, prompt, answer = _multi_hop(item) if item.has("port_type") else _one_hop(item)
    return Probe(kind, image, prompt, answer)


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
