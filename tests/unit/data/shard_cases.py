"""Cases with pictures of every sort, for the tests of shards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ldke_pl.data import EditCase, EditRequest, ImageSource, Probe, ProbeKind, Question, load_image


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8))


def make_cases(folder: Path, count: int) -> list[EditCase]:
    """Every case has files, one of them under two names, and a picture in memory; every third has none at all."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_with_pictures(folder, i) if i % 3 else text_case(i) for i in range(count)]


def text_case(number: int) -> EditCase:
    request = EditRequest(None, "Who rules Velmora?", f"Tarn {number}")
    return EditCase(f"set-eval-{number:06d}", request, (Probe(ProbeKind.RELIABILITY, None, request.prompt),))


def _with_pictures(folder: Path, number: int) -> EditCase:
    jpeg, copy, png = folder / f"{number}.JPG", folder / f"{number}-copy.jpg", folder / f"{number}.png"
    picture(number).save(jpeg)
    copy.write_bytes(jpeg.read_bytes())
    picture(1000 + number).convert("RGBA").save(png)
    memory = picture(2000 + number)
    request = EditRequest(jpeg, 'What is "this"?', f"réponse {number}", "entity", "cup")
    probes = (
        Probe(ProbeKind.RELIABILITY, jpeg, request.prompt, request.target, "A", "name", Question(png, "What?")),
        Probe(ProbeKind.IMAGE_GENERALITY, str(copy), request.prompt, request.target),
        Probe(ProbeKind.IMAGE_LOCALITY, memory, "And this?", None, "", "seen", Question(None, "Which?")),
        Probe(ProbeKind.PORTABILITY_2, memory, "Where?", "there"),
        Probe(ProbeKind.TEXT_LOCALITY, None, "Who?", "\ud800"),
    )
    return EditCase(f"set/é.{number:03d}", request, probes, "entity", "A", "name", "old", joint=False)


def map_images(case: EditCase, change: Callable[[ImageSource], ImageSource]) -> EditCase:
    """The case with every picture changed."""

    def changed(image: ImageSource | None) -> ImageSource | None:
        return None if image is None else change(image)

    def probe(old: Probe) -> Probe:
        ceiling = old.ceiling and replace(old.ceiling, image=changed(old.ceiling.image))
        return replace(old, image=changed(old.image), ceiling=ceiling)

    request = replace(case.request, image=changed(case.request.image))
    return replace(case, request=request, probes=tuple(probe(p) for p in case.probes))


def decoded(case: EditCase) -> EditCase:
    """The case with its pictures in memory, by which cases from different places can be compared."""
    return map_images(case, load_image)


def images(case: EditCase) -> list[ImageSource]:
    """All pictures of a case, repeats included."""
    found: list[ImageSource] = []

    def note(image: ImageSource) -> ImageSource:
        found.append(image)
        return image

    map_images(case, note)
    return found
