"""The items of ``probes``, with which Atlas and hand-written edits say what the published keys cannot."""

from ldke_pl.data.readers.fields import Fields, did_you_mean
from ldke_pl.data.records import Probe, ProbeKind, Question

PROBE_KEYS = ("kind", "image", "prompt", "expected", "entity", "relation", "ceiling")
_KINDS = {kind.value: kind for kind in ProbeKind}


def own_probe(item: Fields) -> Probe:
    """The probe that an item of ``probes`` describes."""
    # A forgotten image would silently make a text-only probe, so null has to be written out.
    item.require_present(("image", "expected"))
    kind = _kind(item)
    expected = item.optional_text("expected")
    if expected is None and not kind.is_locality:
        item.fault("expected", f"is null or empty, but {kind.value} is scored against it")
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
