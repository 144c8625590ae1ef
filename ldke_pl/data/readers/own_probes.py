"""The items of ``probes`` and ``must_not_change``, with which edits say what the published keys cannot."""

from collections.abc import Iterator

from ldke_pl.data.readers.fields import Fields, did_you_mean
from ldke_pl.data.records import EditRequest, ImageSource, Probe, ProbeKind, Question

PROBE_KEYS = ("kind", "image", "prompt", "expected", "entity", "relation", "ceiling")
UNCHANGED = "must_not_change"
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


def unchanged_probes(row: Fields, request: EditRequest) -> Iterator[Probe]:
    """The probes of questions that must be answered as before; a text is asked about the edit's own picture."""
    for item in row.texts_or_children(UNCHANGED):
        image, prompt = request.image, item
        if isinstance(item, Fields):
            item.only(("image", "prompt"))
            item.require_present(("image",))  # as for a probe
            image, prompt = item.optional_image("image"), item.text("prompt")
        if (image, prompt) == (request.image, request.prompt):
            row.fault(UNCHANGED, "holds the edit's own question about its own picture, which is what changes")
        yield Probe(_unchanged_kind(image, request), image, str(prompt))


def _unchanged_kind(image: ImageSource | None, request: EditRequest) -> ProbeKind:
    if image is None:
        return ProbeKind.TEXT_LOCALITY
    return ProbeKind.FINEGRAINED_LOCALITY if image == request.image else ProbeKind.IMAGE_LOCALITY
