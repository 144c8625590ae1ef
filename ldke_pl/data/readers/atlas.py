"""Atlas, our own test bed: the shared keys, and optional ones for what the published sets cannot say."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ldke_pl.data.readers.fields import Fields
from ldke_pl.data.readers.own_probes import own_probe
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import CORE_KEYS, parse_probes, parse_request
from ldke_pl.data.records import EditCase, Probe, ProbeKind

_SHARED_KEYS = ("loc", "m_loc", "port_new")


def read_atlas(path: Path, root: Path | None) -> ParsedFile:
    """Read an Atlas file.

    Beside the shared keys, of which those of image generality and locality may be absent: ``group``,
    ``entity``, ``relation`` (of the edit), ``relations`` and ``entities`` (of the shared keys' other probes, by key),
    ``joint`` (default true) and ``probes``, appended after the shared ones. Without ``entity`` a case is its own.
    """
    return parse_rows("atlas", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> list[EditCase]:
    row.require(CORE_KEYS)
    request = parse_request(row)
    relation = row.optional_text("relation") or ""
    entity = row.optional_text("entity") or case_id
    shared = parse_probes(row, request, relation, _by_key(row, "relations"))
    case = EditCase(
        case_id=case_id,
        request=replace(request, group=row.optional_text("group") or ""),
        probes=(
            *_about(shared, entity, _by_key(row, "entities")),
            *(own_probe(item) for item in row.children("probes")),
        ),
        group=row.optional_text("group") or "",
        entity=entity,
        relation=relation,
        old_answer=row.text("pred", empty_ok=True),
        joint=row.optional_flag("joint", default=True),
    )
    return [case]


def _by_key(row: Fields, name: str) -> dict[str, str]:
    """What ``name`` says of the shared keys' locality and portability probes."""
    values = row.child(name)
    if values is None:
        return {}
    values.only(_SHARED_KEYS)
    return {key: values.optional_text(key) or "" for key in _SHARED_KEYS}


def _about(probes: tuple[Probe, ...], entity: str, entities: dict[str, str]) -> Iterator[Probe]:
    """The shared keys' probes with the entity each asks about: the edit's own, except for locality."""
    keys = {ProbeKind.TEXT_LOCALITY: "loc", ProbeKind.IMAGE_LOCALITY: "m_loc"}
    for probe in probes:
        about = entities.get(keys[probe.kind], "") if probe.kind in keys else entity
        yield replace(probe, entity=about)
