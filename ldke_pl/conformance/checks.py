"""The checks: each takes a :class:`~ldke_pl.conformance.subject.Subject` and raises a ModelError where it fails."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldke_pl.backbone import CONNECTOR
from ldke_pl.backbone.forward import answer_logits, greedy_answers
from ldke_pl.backbone.hooks import captured, forward_hooks
from ldke_pl.backbone.prefix import Prefix
from ldke_pl.backbone.sites import vision_encoder
from ldke_pl.backbone.vision import encoded_once
from ldke_pl.config import LocalizerConfig
from ldke_pl.conformance.subject import QUESTIONS, SETTINGS, NotPossibleError, Subject
from ldke_pl.data import EditRequest, Question
from ldke_pl.edited import BASE, EditedModel, Routes
from ldke_pl.edits.artefact import load_artefact
from ldke_pl.errors import EditError, ModelError
from ldke_pl.localize import Calibration, build_localizer
from ldke_pl.localize.gradients import gradient_scores
from ldke_pl.router import FeatureReader, RadiusRouter

CLOSE, HALF_CLOSE = 1e-4, 5e-2
"""Largest difference between what should be equal, but is computed in another order."""


def _require(right: bool, what: str) -> None:
    if not right:
        raise ModelError(what, "report it with the model's id: edits on this model cannot be trusted")


def sites_are_found(subject: Subject) -> None:
    """The connector and every decoder layer can be written, and each ends in the decoder's width."""
    sites, width = subject.backbone.sites, subject.backbone.width
    _require(len(sites) == len(subject.backbone.layers) + 1, "a decoder layer has no site")
    ends = [list(site.slots.values())[-1].out_features for site in sites.values()]
    _require(set(ends) == {width}, f"sites end in {sorted(set(ends))}, the decoder is {width} wide")


def localizer_scores_differ(subject: Subject) -> None:
    """Localizer scores are finite numbers, and not the same for two edits."""
    for name, scores in gradient_scores(subject.backbone, subject.requests).items():
        _require(bool(scores.isfinite().all()), f"{name} scores are not numbers")
        _require(not torch.allclose(scores[0], scores[2]), f"{name} scores do not differ between edits")


def edits_lower_their_loss(subject: Subject) -> None:
    """An edit at a site of either kind makes its target likelier."""
    for site in (CONNECTOR, subject.decoder_site):
        edits, requests = subject.edits_at(site), subject.requests
        questions = [Question(r.image, r.prompt) for r in requests]
        batch, labels = subject.backbone.prompts.encode_answers(questions, [r.target for r in requests])
        inputs, labels = dict(batch.to(subject.backbone.device)), labels.to(subject.backbone.device)
        with torch.no_grad():
            before = answer_logits(subject.backbone, inputs, labels).loss_per_row()
            with subject.under(inputs, edits, range(len(edits))):
                after = answer_logits(subject.backbone, inputs, labels).loss_per_row()
        _require(bool((after < before).all()), f"edits at {site} do not lower their loss: {before} to {after}")


def edits_change_the_answer(subject: Subject) -> None:
    """Asked its own question again, the edited model says the target; the same picture can carry two edits."""
    for site in (CONNECTOR, subject.decoder_site):
        requests, edits = subject.requests, subject.edits_at(site)
        batch = subject.batch([Question(r.image, r.prompt) for r in requests])
        with subject.under(batch, edits, range(len(edits))):
            said = greedy_answers(subject.backbone, batch)
        _require(said == [r.target for r in requests], f"after edits at {site} the model says {said}")


def batches_change_nothing(subject: Subject) -> None:
    """A batch of edits gives the deltas of single runs."""
    editor = subject.editor(CONNECTOR, steps=5, lr=SETTINGS.lr)  # float noise grows with both
    # A base in half precision rounds the gradients of a batch and of a single run apart.
    bound = CLOSE if subject.backbone.model.dtype is torch.float32 else HALF_CLOSE
    for edit, request in zip(editor.edit(subject.requests), subject.requests, strict=True):
        (alone,) = editor.edit([request])
        for name, delta in edit.deltas.items():
            pairs = zip(delta.tensors(), alone.deltas[name].tensors(), strict=True)
            far = max(float((a - b).abs().max()) for a, b in pairs)
            _require(far < bound, f"a batch moves the delta of {name} by {far:.1e} from a single run's")


def rows_take_their_own_edits(subject: Subject) -> None:
    """In one padded batch each row is as if all rows ran under its edit, whichever side is padded."""
    rows = [0, -1, 2, 1, -1]
    for site, side in product((CONNECTOR, subject.decoder_site), ("left", "right")):
        edits, batch = subject.edits_at(site), subject.batch(QUESTIONS, side)
        base, there = subject.logits(batch), batch["attention_mask"].bool()
        with subject.under(batch, edits, rows):
            mixed = subject.logits(batch)
        for number in range(len(edits)):
            with subject.under(batch, edits, [number] * len(rows)):
                whole = subject.logits(batch)
            row = rows.index(number)
            far = float((whole[row] - mixed[row])[there[row]].abs().max())
            _require(far < CLOSE, f"a row under its edit at {site} differs by {far:.1e} beside others ({side} padding)")
            moved = float((base[row] - mixed[row])[there[row]].abs().max())
            _require(moved > 10 * CLOSE, f"an edit at {site} does not reach its row")


def base_rows_are_bit_equal(subject: Subject) -> None:
    """Rows that go to the base get the base's very numbers, next to edited rows."""
    batch = subject.batch(QUESTIONS)
    base = subject.logits(batch)
    for site in (CONNECTOR, subject.decoder_site):
        with subject.under(batch, subject.edits_at(site), [0, -1, 2, -1, -1]):
            mixed = subject.logits(batch)
        same = [torch.equal(base[i], mixed[i]) for i in (1, 3, 4)]
        _require(all(same), f"a row routed to the base differs from the base (edits at {site})")
    _require(torch.equal(base, subject.logits(batch)), "the base does not give the same numbers after edits")


def one_of_two_pictures_is_edited(subject: Subject) -> None:
    """With two pictures in a row, a connector edit of the one leaves the other's vectors as they are."""
    backbone, batch = subject.backbone, subject.two_pictures()
    pictures = backbone.prompts.pictures(batch)
    _require(pictures.rows.tolist() == [0, 0], f"two pictures are taken for {len(pictures)}")
    edited = EditedModel(backbone, RadiusRouter(FeatureReader(backbone)), subject.editor(CONNECTOR))
    edit = subject.edits_at(CONNECTOR)[0]
    edited.put([edit])
    for routes in ([edit.edit_id, BASE], [BASE, edit.edit_id]):
        parts = []
        for images in ([BASE, BASE], routes):
            with captured({"it": backbone.sites[CONNECTOR].output}) as outputs, torch.no_grad():
                edited(routes=Routes([BASE], images, pictures.sizes), **batch)
            parts.append(pictures.vectors(outputs["it"]))
        same = [torch.equal(a, b) for a, b in zip(*parts, strict=True)]
        _require(same == [r == BASE for r in routes], f"pictures routed {routes} are left alone: {same}")


def generation_keeps_its_routes(subject: Subject) -> None:
    """A batch, with and without cache, with four beams and with several sequences: every row under its own edit."""
    backbone, edits = subject.backbone, subject.edits_at(subject.decoder_site)
    edited = EditedModel(backbone, RadiusRouter(FeatureReader(backbone)), subject.editor(CONNECTOR))
    edited.put(edits)
    asked = [subject.requests[1], subject.requests[2]]
    pictured = [Question(r.image, r.prompt) for r in asked]
    batch = subject.batch([pictured[0], QUESTIONS[1], pictured[1]])
    pictures = backbone.prompts.pictures(batch)
    rows = [edits[1].edit_id, BASE, edits[2].edit_id]
    routes = Routes(rows, [rows[r] if r >= 0 else BASE for r in pictures.rows.tolist()], pictures.sizes)
    base = _said(edited, Routes([BASE] * 3, [BASE] * len(pictures), pictures.sizes), batch)[1]
    several: list[dict[str, Any]] = [{"use_cache": True}, {"use_cache": False}, {"num_beams": 4}]
    for options in [*several, {"num_beams": 4, "num_return_sequences": 2}]:
        said = _said(edited, routes, batch, **options)[:: options.get("num_return_sequences", 1)]
        _require(said[::2] == [r.target for r in asked], f"with {options} the model says {said}")
        if "num_beams" not in options:
            _require(said[1] == base, f"with {options} a base row says {said[1]!r} in place of {base!r}")


def _said(edited: EditedModel, routes: Routes | None, batch: dict[str, Any], **options: Any) -> list[str]:
    prompts = edited.backbone.prompts
    settings = {"do_sample": False, "max_new_tokens": 12, "pad_token_id": prompts.tokenizer.pad_token_id}
    ids = edited.generate(routes=routes, **batch, **settings, **options)
    return prompts.decode(ids[:, batch["input_ids"].shape[1] :])


def pictures_are_encoded_once(subject: Subject) -> None:
    """The vision encoder sees each distinct picture once, and gives what it gives otherwise."""
    model, batch = subject.backbone.model, subject.batch(QUESTIONS)
    distinct = subject.batch([q for q in QUESTIONS if q is not QUESTIONS[3]])
    with _counted(model) as seen:
        plain = subject.logits(batch)
        subject.logits(distinct)
        whole, single = seen
        seen.clear()
        with encoded_once(model):
            cached = [subject.logits(batch) for _ in range(2)]
    if seen[-2:] == [whole] * 2:
        raise NotPossibleError("its vision encoder takes the pictures of a batch as one sequence")
    _require(sum(seen) == single, f"the vision encoder worked on {sum(seen)} patches, of which {single} are distinct")
    far = max(float((c - plain).abs().max()) for c in cached)
    _require(far < CLOSE, f"reused encodings change the model by {far:.1e}")


@contextmanager
def _counted(model: nn.Module) -> Iterator[list[int]]:
    """Vectors that go through the first layer of the encoder, pass by pass."""
    stacks = [m for m in vision_encoder(model).modules() if isinstance(m, nn.ModuleList)]  # type: ignore[arg-type]
    first = max(stacks, key=len)[0]
    with _passes_through(next(m for m in first.modules() if isinstance(m, nn.Linear))) as counts:
        yield counts


@contextmanager
def _passes_through(linear: nn.Module) -> Iterator[list[int]]:
    """Vectors that go through a linear layer, pass by pass."""
    counts: list[int] = []

    def count(_module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        counts.append(inputs[0].shape[:-1].numel())

    with forward_hooks([(linear, count)]):
        yield counts


def layers_below_an_edit_run_once(subject: Subject) -> None:
    """Passes that go on from what was computed below the lowest edited layer give what whole passes give."""
    backbone, batch = subject.backbone, subject.batch(QUESTIONS)
    last = len(backbone.layers) - 1
    edits = subject.editor(f"decoder.{last}", steps=3).edit(subject.requests)
    prefix = Prefix(backbone, last)
    below = next(m for m in backbone.layers[0].modules() if isinstance(m, nn.Linear))
    with subject.under(batch, edits, [0, -1, 2, 1, -1]), _passes_through(below) as passes:
        whole = subject.logits(batch)
        passes.clear()
        for _ in range(3):
            with prefix.reused():
                again = subject.logits(batch)
    _require(len(passes) == 1, f"the lowest layer ran {len(passes)} times in three passes")
    there = batch["attention_mask"].bool()
    far = float((again - whole)[there].abs().max())
    _require(far < CLOSE, f"a pass that goes on from the states below an edit differs by {far:.1e} from a whole one")


def later_turns_keep_the_route(subject: Subject) -> None:
    """Earlier turns and system prompts do not take an edit's own question from it."""
    backbone = subject.backbone
    processor: Any = backbone.processor
    if processor.chat_template is None:
        raise NotPossibleError("its processor has no chat template")
    edited, request = _edited(subject, CONNECTOR), subject.requests[0]
    (edit_id,) = edited.edits
    picture, asked = {"type": "image"}, {"type": "text", "text": request.prompt}
    other = {"type": "text", "text": "What colour is it?"}
    told = {"role": "assistant", "content": [{"type": "text", "text": "red"}]}
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    chats = {
        "a system prompt": [system, {"role": "user", "content": [picture, asked]}],
        "an earlier turn with the picture": [
            {"role": "user", "content": [picture, other]}, told, {"role": "user", "content": [asked]},
        ],
    }  # fmt: skip
    for name, chat in chats.items():
        text = processor.apply_chat_template(chat, add_generation_prompt=True)
        batch = processor(text=[text], images=[[request.image]], return_tensors="pt").to(backbone.device)
        found = edited.route(batch).rows
        _require(found == [edit_id], f"with {name} the edit's own question goes to {found[0]}")


def text_edits_exclude_the_connector(subject: Subject) -> None:
    """An edit without a picture never goes to the connector: not by a localizer, and not when told to."""
    request = EditRequest(None, QUESTIONS[1].prompt, "a red kite")
    for name in ("cosine", "gradient", "attribution", "all", "random"):
        config = LocalizerConfig(name=name, max_sites=100, tau=0.01)
        (sites,) = build_localizer(subject.backbone, config, Calibration())([request])
        _require(CONNECTOR not in sites and len(sites) > 0, f"{name} sends a text-only edit to {sites}")
    try:
        subject.editor(CONNECTOR).edit([request])
    except EditError:
        return
    raise ModelError("A text-only edit was written to the connector.")


def saved_edits_come_back(subject: Subject) -> None:
    """Edits survive being saved and loaded, with their answers."""
    backbone = subject.backbone
    edited = _edited(subject, CONNECTOR)
    with tempfile.TemporaryDirectory() as folder:
        edited.save(folder)
        loaded = load_artefact(Path(folder), backbone).edits
    for saved, found in zip(edited.edits.values(), loaded, strict=True):
        pairs = [(d.tensors(), found.deltas[n].tensors()) for n, d in saved.deltas.items()]
        same = all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))
        _require(same and saved.edit_id == found.edit_id, f"the edit {saved.edit_id} changed when saved")


def edits_work_end_to_end(subject: Subject) -> None:
    """EditedModel makes an edit, routes its question to it, answers with the target, and takes it back."""
    edited = _edited(subject, CONNECTOR)
    (edit_id,), request = edited.edits, subject.requests[0]
    batch = subject.batch([Question(request.image, request.prompt)])
    routes = edited.route(batch)
    _require(routes.rows == [edit_id], f"the edit's own question goes to {routes.rows[0]}")
    (said,) = _said(edited, None, batch)
    _require(said == request.target, f"the edited model says {said!r} in place of {request.target!r}")
    base = subject.logits(batch)
    with edited.disabled():
        _require(torch.equal(edited(**batch).logits, base), "a disabled model differs from the base")
    _require(not torch.equal(edited(**batch).logits, base), "the edit was not enabled again")
    edited.rollback(edit_id)
    _require(torch.equal(edited(**batch).logits, base), "an edit that was taken back is still there")


def _edited(subject: Subject, site: str) -> EditedModel:
    backbone = subject.backbone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edited = EditedModel(backbone, RadiusRouter(FeatureReader(backbone)), subject.editor(site))
    edited.add(subject.edits_at(site)[0], subject.requests[0])
    return edited


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        sites_are_found, localizer_scores_differ, edits_lower_their_loss, edits_change_the_answer,
        batches_change_nothing, rows_take_their_own_edits, base_rows_are_bit_equal, one_of_two_pictures_is_edited,
        generation_keeps_its_routes, pictures_are_encoded_once, layers_below_an_edit_run_once,
        later_turns_keep_the_route, text_edits_exclude_the_connector, saved_edits_come_back, edits_work_end_to_end,
    )
}  # fmt: skip
"""Name -> check, in the order in which they are worth reading."""
