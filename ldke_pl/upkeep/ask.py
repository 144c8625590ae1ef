"""Put a question to the base and to the edited model."""

from collections.abc import Sequence
from pathlib import Path

from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.data import Question
from ldke_pl.edited import BASE as TO_BASE
from ldke_pl.edited import EditedModel
from ldke_pl.edits.stored import read_stored
from ldke_pl.router.queries import canonical
from ldke_pl.upkeep.arguments import BASE, parse
from ldke_pl.upkeep.loading import device


def ask(argv: Sequence[str]) -> int:
    """DIR "QUESTION" [picture=FILE] [base=MODEL]: answers of the base and of the edited model, and the route.

    Relevance is that of the most relevant edit in force, in [0, 1]; from the threshold on the question goes to that
    edit, below it to the base. base says where the base model is, if not where the artefact says.
    """
    told = parse(argv, "DIR QUESTION", ("picture", BASE))
    folder, text = told.given
    read_stored(Path(folder))
    picture = told.options.get("picture")
    edited = EditedModel.load(folder, told.options.get(BASE)).to(device())
    backbone = edited.backbone
    batch = backbone.prompts.encode([Question(Path(picture) if picture else None, text)]).to(backbone.device)
    routes = edited.route(dict(batch))
    with edited.under(routes):
        (after,) = greedy_answers(backbone, batch)
    (before,) = greedy_answers(backbone, batch)
    print(f"base:      {before}")
    print(f"edited:    {after}")
    print(f"route:     {_route(edited, routes.rows[0])}")
    print(f"relevance: {_relevance(edited, dict(batch))}, threshold {edited.router.threshold:.3f}")
    return 0


def _route(edited: EditedModel, name: str) -> str:
    if name == TO_BASE:
        return "base"
    edit = edited.edits[name]
    return f"{name}  {edit.prompt} -> {edit.target}"


def _relevance(edited: EditedModel, batch: dict[str, object]) -> str:
    queries = canonical(edited.backbone, batch)
    (name, *_), relevance = edited.index.best(edited.router.reader.read(queries))
    return f"{float(relevance[0]):.3f} to {name}" if name else "no edit is in force"
