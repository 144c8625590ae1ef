"""One update for several requests: what methods make that do not keep their edits apart. Ours."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.vision import encoded_once
from ldke_pl.config import EditorConfig
from ldke_pl.data import EditRequest
from ldke_pl.editors.optimise import Batch, Extra, Problem, Where, adam, begun, record, step
from ldke_pl.edits import Delta


def optimise_shared(
    backbone: Backbone,
    requests: Sequence[EditRequest],
    where: Where,
    config: EditorConfig,
    *,
    seed: int,
    full_rank: bool = True,
) -> Problem:
    """One update for all requests, as plain fine-tuning makes it: ``config.steps`` passes over them.

    Raises:
        EditError: a request is unusable, or a loss is not a number.
    """
    shared = begun(backbone, requests[0], where, config, seed, full_rank)
    # No site, no delta of its own: all carry the same one.
    others = [begun(backbone, r, (), config, seed, full_rank) for r in requests[1:]]
    problems = [shared, *(replace(other, deltas=shared.deltas) for other in others)]
    optimiser = adam(shared.parameters(), config)
    size = config.batch_size
    with torch.inference_mode(False), torch.enable_grad(), encoded_once(backbone.model):
        batches = [Batch(backbone, problems[i : i + size], config) for i in range(0, len(problems), size)]
        for _ in range(config.steps):
            for batch in batches:
                losses = batch.losses()
                record(batch.problems, losses, stop_loss=0.0)
                optimiser.zero_grad()
                torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            if sum(p.loss for p in problems) / len(problems) < config.stop_loss:
                break
    return shared


def optimise_in_sequence(
    backbone: Backbone,
    requests: Sequence[EditRequest],
    where: Where,
    config: EditorConfig,
    *,
    seed: int,
    full_rank: bool = True,
) -> Iterator[Problem]:
    """One update, fine-tuned on one request after another, as peers edit sequentially.

    Yields:
        The update after each request; it is the same object each time.

    Raises:
        EditError: a request is unusable, or a loss is not a number.
    """
    shared = begun(backbone, requests[0], where, config, seed, full_rank)
    for request in requests:
        problem = replace(begun(backbone, request, (), config, seed, full_rank), deltas=shared.deltas)
        optimiser = adam(shared.parameters(), config)
        with torch.inference_mode(False), torch.enable_grad(), encoded_once(backbone.model):
            batch = Batch(backbone, [problem], config)
            for _ in range(config.steps):
                losses = batch.losses()
                record([problem], losses, config.stop_loss)
                if problem.done:
                    break
                optimiser.zero_grad()
                losses[0].backward()  # type: ignore[no-untyped-call]
                step(optimiser, [problem])
        yield replace(shared, loss=problem.loss, steps=problem.steps)


def optimise_together(
    backbone: Backbone,
    requests: Sequence[EditRequest],
    deltas: dict[str, Delta],
    config: EditorConfig,
    *,
    seed: int,
    extra: Extra | None = None,
) -> list[Problem]:
    """Tune an update that requests share, in place, until their mean loss falls below the stop value.

    Args:
        deltas: leaf factors; what they hold is gone on from.
        extra: adds a term to each request's loss.

    Returns:
        A problem per request, each with these ``deltas``.

    Raises:
        EditError: a request is unusable, or a loss is not a number.
    """
    problems = [replace(begun(backbone, r, (), config, seed, full_rank=True), deltas=deltas) for r in requests]
    optimiser = adam(problems[0].parameters(), config)
    with torch.inference_mode(False), torch.enable_grad(), encoded_once(backbone.model):
        batch = Batch(backbone, problems, config)
        term = extra(problems) if extra else None
        for _ in range(config.steps):
            losses = batch.losses(term)
            record(problems, losses, stop_loss=0.0)
            mean = torch.stack(losses).mean()
            if mean.item() < config.stop_loss:
                break
            optimiser.zero_grad()
            mean.backward()  # type: ignore[no-untyped-call]
            step(optimiser, problems)
    return problems
