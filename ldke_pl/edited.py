"""EditedModel: a base model, a set of edits and the router between them, behind transformers' own ``generate``.

The base weights never change. Each row of a batch is answered under the edit that its last question belongs to, or by
the untouched base; the route is decided once, from the prompt alone, before anything is generated.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.forward import greedy_answers
from ldke_pl.backbone.load import ATLAS_ROUTER
from ldke_pl.backbone.vision import encoded_alike
from ldke_pl.config import CONF_DIR, EditConfig, ModelConfig, load_config
from ldke_pl.data import EditRequest, Question
from ldke_pl.editors import Editor, build_editor
from ldke_pl.edits import BASE_ROW, Edit, applied
from ldke_pl.edits.artefact import Artefact, load_artefact, save_artefact
from ldke_pl.edits.entries import REMEMBERED
from ldke_pl.edits.files import CONFIG, read_config
from ldke_pl.errors import EditError
from ldke_pl.localize import Calibration, build_localizer
from ldke_pl.router import FeatureReader, Key, KeyIndex, RadiusRouter, Router, load_router
from ldke_pl.router.queries import canonical
from ldke_pl.router.store import describe, rebuild, weights

BASE = "base"
"""The route of a query that goes to the untouched model."""


@dataclass(frozen=True)
class Routes:
    """Where a batch goes.

    Args:
        rows: edit id, or ``BASE``, per row of the batch.
        images: the same per picture, in the order of the pixels.
        sizes: relative number of vectors that each picture has at the connector, (pictures,) long; None if all have
            as many.
    """

    rows: list[str]
    images: list[str]
    sizes: Tensor | None = None


class EditedModel:
    """A base model with edits.

    >>> from ldke_pl.atlas.picture import drawn
    >>> edited = EditedModel.from_pretrained("atlas").to("cpu")
    >>> picture = drawn("Badadi")  # or the path of a picture
    >>> name = Question(picture, "Which country is this?")
    >>> capital = Question(picture, "What is the capital of this country?")
    >>> edited.answers([name, capital])
    ['Badadi', 'Zititon']
    >>> (edit_id,) = edited.edit([EditRequest(picture, name.prompt, "Kumito", "entity")])
    >>> edited.answers([name, capital])  # nobody told it that Buvoton is Kumito's capital
    ['Kumito', 'Buvoton']
    >>> with edited.disabled():
    ...     edited.answers([name])
    ['Badadi']
    >>> batch = edited.backbone.prompts.encode([name, Question(None, "What is the capital of Badadi?")])
    >>> routes = edited.route(batch)
    >>> routes.rows == [edit_id, BASE]
    True
    >>> tokens = edited.generate(**batch, num_beams=4, max_new_tokens=8)
    >>> with edited.under(routes):
    ...     logits = edited.backbone(**batch).logits

    Edits are switched off and on, taken back and kept:

    >>> edited.disable(edit_id)
    >>> len(edited.edits), len(edited.active)
    (1, 0)
    >>> edited.enable(edit_id)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     edited.save(folder)
    ...     EditedModel.load(folder).answers([name])
    ['Kumito']
    >>> edited.rollback(edit_id)
    >>> edited.answers([name])
    ['Badadi']

    Edits that another program made are put in force with their request, or with a key of their own:

    >>> request = EditRequest(None, "What is the capital of Badadi?", "Rivuton")
    >>> (edit,) = edited.editor.edit([request])
    >>> edited.add(edit, request) == edit.edit_id
    True
    >>> (kept,) = edited.active
    >>> edited.rollback(kept.edit_id)
    >>> edited.put([kept])
    >>> edited.answers([Question(None, request.prompt)])
    ['Rivuton']

    Args:
        backbone: the unedited model.
        router: decides which inputs see which edit.
        editor: makes the edits.
        calibration: what localization knows of the base's sites; kept with the edits.
    """

    def __init__(
        self, backbone: Backbone, router: Router, editor: Editor, calibration: Calibration | None = None
    ) -> None:
        self.backbone, self.router, self.editor = backbone, router, editor
        self.calibration = calibration or Calibration()
        self.index = KeyIndex(router)
        self._edits: dict[str, Edit] = {}
        self._superseded_by: dict[str, str] = {}
        self._rolled_back: list[dict[str, str]] = []
        self._enabled = True

    @classmethod
    def from_pretrained(cls, name: str, router: str | Path | None = None, **model: Any) -> "EditedModel":
        """Load a base model with LDKE as its editor.

        Args:
            name: ``atlas``, a hub id or a folder.
            router: folder of the router trained for it. Without one (and for any model but Atlas) the training-free
                radius router is used, with a warning.
            model: further fields of :class:`~ldke_pl.config.ModelConfig`, such as ``dtype``.

        Raises:
            ModelError: the model cannot be loaded.
            ArtefactError: the router is damaged or was trained for another model.
        """
        backbone = load_backbone(ModelConfig(name=name, **model))
        folder = Path(router) if router is not None else ATLAS_ROUTER if name == "atlas" else None
        calibration = Calibration.load(folder)
        return cls(backbone, _router(backbone, folder), _default_editor(backbone, calibration), calibration)

    def to(self, device: str | torch.device) -> "EditedModel":
        """Move the base model; router and edits follow it."""
        self.backbone.model.to(device)  # type: ignore[arg-type]
        return self

    @property
    def edits(self) -> Mapping[str, Edit]:
        """All edits by id, in the order in which they were made; see :meth:`edit`."""
        return MappingProxyType(self._edits)

    @property
    def active(self) -> list[Edit]:
        """The edits in force: all but those disabled and those that a later edit of the same fact has superseded."""
        return [e for name, e in self._edits.items() if name not in self._superseded_by and not e.disabled]

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0) -> list[str]:
        """Write ``requests`` and return the ids of their edits, in order.

        A request about the same fact as an earlier edit supersedes it.

        Raises:
            EditError: a request cannot be written; no edit of this call is kept.
        """
        for number, request in enumerate(requests):
            if not request.prompt.strip() or not request.target.strip():
                raise EditError(f"Request {number} has an empty prompt or target.", "give each request both")
        made = self.editor.edit(requests, seed=seed)
        return [self.add(replace(e, seed=seed), r) for e, r in zip(made, requests, strict=True)]

    def add(self, edit: Edit, request: EditRequest) -> str:
        """Put a finished edit in force: give it a key, a free id, and the earlier edit that it supersedes, if any.

        Raises:
            EditError: the edit changes the prompt, which cannot be done to inputs that are tokens already.
        """
        _refuse_prompts([edit])
        name, number = edit.edit_id, 1
        while name in self._edits:
            number += 1
            name = f"{edit.edit_id}-{number}"
        (key,) = self.router.keys([request])
        self.put([replace(edit, edit_id=name, key=key, supersedes=self._same_fact(request, key))])
        return name

    def put(self, edits: Sequence[Edit]) -> None:
        """Put finished edits in force, with what they supersede; to one without a key only an explicit route leads."""
        keyed = [e for e in edits if e.key]
        self.index.add([e.edit_id for e in keyed], [e.key for e in keyed])
        for edit in edits:
            known = edit.edit_id in self.index
            self._edits[edit.edit_id] = replace(edit, key=self.index.key(edit.edit_id)) if known else edit
            if edit.supersedes:
                self._supersede(edit.supersedes, edit.edit_id)
            if edit.disabled and known:
                self.index.hide(edit.edit_id)

    def _supersede(self, earlier: str, later: str) -> None:
        self._superseded_by[earlier] = later
        if earlier in self.index:
            self.index.hide(earlier)

    def _same_fact(self, request: EditRequest, key: Key) -> str:
        """The active edit that the request's question goes to, if its own question would go to the new edit as well."""
        query = self.router.reader.questions([Question(request.image, request.prompt)])
        (earlier,), (relevance,) = self.index.best(query)
        if not earlier or relevance < self.router.threshold:
            return ""
        back = self.router.reader.questions([Question(request.image, self._edits[earlier].prompt)])
        mutual = bool(self.router.relevance(back, [key])[0, 0] >= self.router.threshold)
        return earlier if mutual else ""

    def rollback(self, edit_id: str) -> None:
        """Take an edit back; the edit that it had superseded is in force again.

        Raises:
            EditError: there is no such edit.
        """
        gone = self._known(edit_id)
        del self._edits[edit_id]
        self._rolled_back.append({name: getattr(gone, name) for name in REMEMBERED})
        earlier = gone.supersedes
        later = self._superseded_by.pop(edit_id, "")
        if edit_id in self.index:
            self.index.remove(edit_id)
        if later:
            self._edits[later] = replace(self._edits[later], supersedes=earlier)
        if earlier and later:
            self._superseded_by[earlier] = later
        elif earlier:
            del self._superseded_by[earlier]
            self._show(earlier)

    def disable(self, edit_id: str) -> None:
        """Route no query to an edit any more; it is kept, and what it has superseded stays superseded.

        Raises:
            EditError: there is no such edit.
        """
        self._edits[edit_id] = replace(self._known(edit_id), disabled=True)
        if edit_id in self.index:
            self.index.hide(edit_id)

    def enable(self, edit_id: str) -> None:
        """Route queries to a disabled edit again, unless a later edit has superseded it.

        Raises:
            EditError: there is no such edit.
        """
        if self._known(edit_id).disabled:
            self._edits[edit_id] = replace(self._edits[edit_id], disabled=False)
            self._show(edit_id)

    def _known(self, edit_id: str) -> Edit:
        if edit_id not in self._edits:
            raise EditError(f"There is no edit {edit_id!r}.", f"the edits are {', '.join(self._edits) or 'none'}")
        return self._edits[edit_id]

    def _show(self, edit_id: str) -> None:
        """Put a hidden edit in force again if nothing hides it any more."""
        if edit_id in self.index and edit_id not in self._superseded_by and not self._edits[edit_id].disabled:
            self.index.show(edit_id)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Exactly the base model inside; what was before is restored after, also when nested or on an exception."""
        before = self._enabled
        self._enabled = False
        try:
            yield
        finally:
            self._enabled = before

    def route(self, batch: dict[str, Any]) -> Routes:
        """Decide, from the prompt alone, where each row and each picture of ``batch`` goes.

        Args:
            batch: the model's inputs: ``input_ids``, ``attention_mask`` and, with pictures, ``pixel_values``.
        """
        pictures = self.backbone.prompts.pictures(batch)
        routes = Routes([BASE] * len(batch["input_ids"]), [BASE] * len(pictures), pictures.sizes)
        if not self._enabled or not len(self.index):
            return routes
        queries = canonical(self.backbone, batch)
        names, relevance = self.index.best(self.router.reader.read(queries))
        strength = [0.0] * len(routes.rows)
        places = zip(queries.rows.tolist(), queries.images.tolist(), names, relevance.tolist(), strict=True)
        for row, image, name, relevant in places:
            if relevant < self.router.threshold:
                continue
            if image >= 0:
                routes.images[image] = name
            if relevant > strength[row]:
                strength[row], routes.rows[row] = relevant, name
        return routes

    def under(self, routes: Routes) -> AbstractContextManager[None]:
        """Run the forward passes inside with every row and picture under its route."""
        used = sorted({*routes.rows, *routes.images} - {BASE})
        if not used:
            return nullcontext()
        number = {name: i for i, name in enumerate(used)} | {BASE: BASE_ROW}
        rows = torch.tensor([number[r] for r in routes.rows])
        images = torch.tensor([number[r] for r in routes.images]) if routes.images else None
        return applied(self.backbone, [self._edits[name].deltas for name in used], rows, images, routes.sizes)

    def generate(self, *, routes: Routes | None = None, **inputs: Any) -> Any:
        """Transformers' own ``generate``, every row under its route.

        Args:
            routes: decided before by :meth:`route`; by default decided here.
            inputs: whatever ``generate`` takes.
        """
        placed = self._on_device(inputs)
        with encoded_alike(self.backbone.model), self.under(routes or self.route(placed)):
            return self.backbone.generate(**placed)

    def __call__(self, *, routes: Routes | None = None, **inputs: Any) -> Any:
        """One forward pass; everything in ``input_ids`` counts as prompt."""
        placed = self._on_device(inputs)
        with encoded_alike(self.backbone.model), self.under(routes or self.route(placed)):
            return self.backbone(**placed)

    def answers(self, questions: Sequence[Question]) -> list[str]:
        """Greedy answers, all questions in one batch.

        Raises:
            DataError: a picture cannot be read.
        """
        batch = self.backbone.prompts.encode(questions).to(self.backbone.device)
        with encoded_alike(self.backbone.model), self.under(self.route(dict(batch))):
            return greedy_answers(self.backbone, batch)

    def _on_device(self, inputs: dict[str, Any]) -> dict[str, Any]:
        device = self.backbone.device
        placed = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
        placed.setdefault("attention_mask", torch.ones_like(placed["input_ids"]))
        return placed

    def save(self, folder: str | Path) -> None:
        """Write the edits and the router, not the base model.

        Raises:
            ArtefactError: the folder cannot be written.
        """
        parts = describe(self.router), weights(self.router), self._rolled_back, self.calibration.plain()
        save_artefact(Path(folder), self.backbone, Artefact(list(self._edits.values()), *parts))

    @classmethod
    def load(cls, folder: str | Path, name: str | None = None, **model: Any) -> "EditedModel":
        """Read a folder written by :meth:`save` onto its base model; see there.

        Args:
            name: the base model, where it has moved since; by default the one that the folder names.
            model: further fields of :class:`~ldke_pl.config.ModelConfig`.

        Raises:
            ArtefactError: the folder is damaged, or the base is not the one that the edits were made on.
            EditError: its edits change prompts, not the model.
        """
        folder = Path(folder)
        saved = read_config(folder)["base"]
        dtype = {"dtype": saved["dtype"].removeprefix("torch."), "revision": saved["revision"]}
        backbone = load_backbone(ModelConfig(name=name or saved["name"], **(dtype | model)))
        artefact = load_artefact(folder, backbone)
        _refuse_prompts(artefact.edits)
        router = rebuild(backbone, artefact.router, artefact.router_state, folder)
        kept, atlas = artefact.calibration, ATLAS_ROUTER if backbone.name == "atlas" else None
        calibration = Calibration.of(kept, folder / CONFIG) if kept else Calibration.load(atlas)
        edited = cls(backbone, router, _default_editor(backbone, calibration), calibration)
        edited.put(artefact.edits)
        edited._rolled_back = list(artefact.rolled_back)
        return edited


def _router(backbone: Backbone, folder: Path | None) -> Router:
    if folder is not None:
        return load_router(backbone, folder)
    warnings.warn(
        f"No trained router is given for {backbone.name!r}; the training-free radius router recognises an edit's own "
        "question only. Train one with train.py.",
        stacklevel=3,
    )
    return RadiusRouter(FeatureReader(backbone))


def _refuse_prompts(edits: Sequence[Edit]) -> None:
    for edit in edits:
        if edit.context or edit.blind:
            raise EditError(
                f"The edit {edit.prompt!r} -> {edit.target!r} changes the prompt and not the model.",
                "make it with a method that writes deltas, such as ldke; edit.py evaluates the others",
            )


def _default_editor(backbone: Backbone, calibration: Calibration) -> Editor:
    """LDKE as ``edit.py`` runs it by default."""
    config = load_config(EditConfig, CONF_DIR / "edit.yaml", [])
    localizer = build_localizer(backbone, config.localizer, calibration)
    return build_editor(backbone, config.editor["ldke"], localizer)
