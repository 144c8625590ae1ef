"""Atlas, our own test bed: the shared keys, and optional ones for what the published sets cannot say."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ldke_pl.data.readers.fields import Fields, did_you_mean
from ldke_pl.data.readers.parse import ParsedFile, parse_rows
from ldke_pl.data.readers.shared import CORE_KEYS, parse_probes, parse_request
from ldke_pl.data.records import EditCase, Probe, ProbeKind, Question

_SHARED_KEYS = ("loc", "m_loc", "port_new")
_KINDS = {kind.value: kind for kind in ProbeKind}


def read_atlas(path: Path, root: Path | None) -> ParsedFile:
    """Read an Atlas file.

    Beside the shared keys, of which those of image generality and locality may be absent: ``group``,
    ``entity``, ``relation`` (of the edit), ``relations`` and ``entities`` (of the shared keys' other probes, by key),
    ``joint`` (default true) and ``probes``, appended after the shared ones. Without ``entity`` a case is its own.
    """
    return parse_rows("atlas", path, root, _parse_row)


def _parse_row(row: Fields, case_id: str) -> EditCase:
    row.require(CORE_KEYS)
    request = parse_request(row)
    relation = row.optional_text("relation") or ""
    entity = row.optional_text("entity") or case_id
    shared = parse_probes(row, request, relation, _by_key(row, "relations"))
    return EditCase(
        case_id=case_id,
        request=replace(request, group=row.optional_text("group") or ""),
        probes=(*_about(shared, entity, _by_key(row, "entities")), *(_probe(item) for item in row.children("probes"))),
        group=row.optional_text("group") or "",
        entity=entity,
        relation=relation,
        old_answer=row.text("pred", empty_ok=True),
        joint=row.optional_flag("joint", default=True),
    )


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


def _probe(item: Fields) -> Probe:
    # A forgotten image would silently make a text-only probe, so null has to be written out.
    item.require_present(("image", "expected"))
    kind = _kind(item)
    expected = item.optional_text("expected")
    if expected is None and not kind.is_locality:
        item.fault("expected", f"is null, but {kind.value} is scored against it")
    return Probe(
        kind=kind,
        image=item.optional_image("image"),
        prompt=item.text("prompt"),
        expected=expected,
        entity=item.optional_text("entity") or "",
        relation=item.optional_text("relation") or "",
        ceiling=_ceiling(item),
    )


def _kind(item: Fields) -> ProbeKind:
    name = item.text("kind")
    if name not in _KINDS:
        item.fault("kind", f'"{name}" is not a probe kind. {did_you_mean(name, _KINDS)}')
    return _KINDS.get(name, ProbeKind.TEXT_LOCALITY)


def _ceiling(item: Fields) -> Question | None:
    ceiling = item.child("ceiling")
    if ceiling is None:
        return None
    ceiling.require_present(("image",))
    return Question(ceiling.optional_image("image"), ceiling.text("prompt"))
