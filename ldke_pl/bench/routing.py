"""What edits cost at inference: a whole answer, and one routing decision, with up to 100 000 of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from ldke_pl.backbone.load import ATLAS_ROUTER
from ldke_pl.bench.keys import made_up
from ldke_pl.bench.subjects import atlas, atlas_cases, editor_config
from ldke_pl.bench.timing import RUNS, Result, seconds, side_by_side
from ldke_pl.data import Question
from ldke_pl.edited import EditedModel
from ldke_pl.editors.ldke import LDKE
from ldke_pl.errors import ModelError
from ldke_pl.router import Features, KeyIndex, load_router

SIZES = (1, 1_000, 10_000, 100_000)


def generation() -> Iterator[Result]:
    """Generating 32 tokens, the routing pass included, in times of the base model, with ever more edits."""
    edited = _edited()
    prompts, settings = edited.backbone.prompts, {"do_sample": False, "max_new_tokens": 32, "min_new_tokens": 32}
    ((first, real),) = edited.edits.items()
    for size in SIZES:
        for keys in made_up(edited.router, len(edited.edits), size):
            edited.put([replace(real, edit_id=name, key=key) for name, key in keys.items()])
        for rows, target in ((1, 1.10), (16, 1.15)):
            questions = [Question(c.request.image, c.request.prompt) for c in atlas_cases()[:rows]]
            batch = dict(prompts.encode(questions))
            if edited.route(batch).rows[0] != first:
                raise ModelError(f"Among {size} edits the first question misses its own.", "report it")
            inputs = batch | settings | {"pad_token_id": prompts.tokenizer.pad_token_id}
            answers = partial(edited.generate, **inputs), partial(edited.backbone.generate, **inputs)
            yield Result(f"generate, {rows} rows, {size} edits / base", side_by_side(*answers, 9), target, at_most=True)


def decision() -> Iterator[Result]:
    """One routing decision from the features that were read, in milliseconds, among more and more edits.

    Garbage is collected before each, which leaves little of what it needs in the processor's caches.
    """
    index = KeyIndex(load_router(atlas(), ATLAS_ROUTER))
    questions = [Question(c.request.image, p.prompt) for c in atlas_cases()[:20] for p in c.probes[:2]]
    asked = [index.router.reader.questions([q]) for q in questions]
    taken: dict[int, list[float]] = {}
    for size in (50_000, 100_000, 200_000):
        for keys in made_up(index.router, len(index), size):
            index.add([*keys], [*keys.values()])
        each = [seconds(partial(index.best, query)) for _ in range(2) for query in asked]
        taken[size] = [1000 * t for t in each[len(asked) :]]
        target = 2.0 if size == 100_000 else None
        yield Result(f"a decision among {size} edits, ms", taken[size], target, at_most=True)
        rounds = [seconds(partial(_all, index, asked)) for _ in range(RUNS)]
        yield Result(f"a decision among {size} edits, one after another, ms", [1000 * t / len(asked) for t in rounds])
    growth = [b / a for a, b in zip(taken[100_000], taken[200_000], strict=True)]
    yield Result("a decision among 200000 edits / among 100000", growth, 2.0, at_most=True)


def _all(index: KeyIndex, asked: Sequence[Features]) -> None:
    for query in asked:
        index.best(query)


def _edited() -> EditedModel:
    """Atlas with one real edit, that of the first case."""
    case = atlas_cases()[0]
    editor = LDKE(atlas(), editor_config(), lambda requests: [("connector",)] * len(requests))
    edited = EditedModel(atlas(), load_router(atlas(), ATLAS_ROUTER), editor)
    edited.edit([case.request])
    return edited
