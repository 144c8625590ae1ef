"""Making the edits of a run: chunk by chunk, in one process or shared by several, and what is kept of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch.multiprocessing.spawn import ProcessRaisedException

from ldke_pl.config import EditorConfig
from ldke_pl.editors import Editor
from ldke_pl.edits import Edit
from ldke_pl.edits.artefact import Artefact, save_artefact
from ldke_pl.edits.chunks import Chunk, ChunkStore
from ldke_pl.errors import EditError, LDKEError
from ldke_pl.modules.editing import EditingModule, Numbered, Timed, chunk_loader, numbered
from ldke_pl.router.store import describe, weights
from ldke_pl.runtime import unfinished
from ldke_pl.runtime.session import Costs, Session, choose_sites, prepared_editor
from ldke_pl.runtime.trainer import build_trainer


def share_edits(session: Session) -> bool:
    """Make the edits of all methods and seeds that are not finished on all devices of the run.

    Every process leaves its chunks in the run folder, where the first finds them as if a run had been cut off.

    Returns:
        Whether this process is the first, which goes on with the run.
    """
    ranks = session.config.trainer.devices * session.config.trainer.num_nodes
    first = True
    for seed in session.config.run.seeds if ranks > 1 else ():
        for name, settings in session.config.editor.items():
            chunks = numbered(session.requests, settings.batch_size)
            chunks += [(len(chunks), [])] * (ranks - len(chunks))  # Lightning has every rank do something
            editor, sites = _editor(session, name, settings, seed)
            store = unfinished.part(session, name, seed).chunks
            first = _predict(session, EditingModule(editor, seed, store, sites, _storage(session)), chunks)
    return first


def make_edits(
    session: Session, name: str, settings: EditorConfig, seed: int, store: ChunkStore | None = None
) -> tuple[Editor, list[Edit], Costs]:
    """One method, all its edits with one seed, made by Lightning's predict loop unless they are in ``store``."""
    editor, sites = _editor(session, name, settings, seed)
    chunks = numbered(session.requests, settings.batch_size)
    kept = {number: store.read(number, requests) for number, requests in chunks} if store else {}
    found = {number: chunk for number, chunk in kept.items() if chunk}
    missing = [(number, requests) for number, requests in chunks if number not in found]
    if missing:
        session.console.print(f"{name}: {len(session.cases)} edits, seed {seed}")
        module = EditingModule(editor, seed, store, sites, _storage(session))
        try:
            _predict(session, module, missing)
        except LDKEError:
            _save_finished(session, name, chunks, found | module.made)
            raise
        found |= module.made
    whole = [found[number] for number, _ in chunks]
    edits = [edit for chunk in whole for edit in chunk.edits]
    seconds, localizing = sum(c.seconds for c in whole), sum(c.localizing for c in whole)
    return editor, edits, Costs(len(edits), seconds, localizing, sum(e.n_bytes for e in edits))


def save_edits(session: Session, name: str, edits: Sequence[Edit]) -> None:
    """Write the artefact of one method: ``edits/`` for the first, ``edits-<method>/`` for others."""
    first = next((n for n, e in session.config.editor.items() if e.routing == "shared"), name)
    folder = session.folder / ("edits" if name == first else f"edits-{name}")
    calibration = session.calibration.plain()
    artefact = Artefact(list(edits), describe(session.router), weights(session.router), calibration=calibration)
    save_artefact(folder, session.backbone, artefact)


def _storage(session: Session) -> torch.dtype:
    dtype = getattr(torch, session.config.run.storage)
    assert isinstance(dtype, torch.dtype)
    return dtype


def _editor(session: Session, name: str, settings: EditorConfig, seed: int) -> tuple[Editor, Timed]:
    sites = Timed(choose_sites(session.backbone, settings, session.config.localizer, session.calibration, seed))
    return prepared_editor(session, name, settings, sites), sites


def _predict(session: Session, module: EditingModule, chunks: Sequence[Numbered]) -> bool:
    """Make chunks on the devices of the run, and say whether this process is the first.

    Raises:
        LDKEError: a request cannot be written.
    """
    trainer = build_trainer(
        session.config.trainer, session.folder, session.logger, inference_mode=False, callbacks=[RichProgressBar()]
    )
    try:
        trainer.predict(module, chunk_loader(chunks), return_predictions=False)
    except ProcessRaisedException as fault:
        raise _told_by_fork(str(fault)) from fault
    return bool(trainer.is_global_zero)


def _told_by_fork(text: str) -> EditError:
    """What a forked process raised, of which its traceback is left; an error of ours ends it, with its hint."""
    _, ours, rest = text.rpartition("ldke_pl.errors.")
    if not ours:
        return EditError(f"A process failed: {text.strip().splitlines()[-1]}")
    message, _, hint = rest.partition(": ")[2].partition("\n  hint: ")
    return EditError(message, hint.strip())


def _save_finished(session: Session, name: str, chunks: Sequence[Numbered], found: Mapping[int, Chunk]) -> None:
    """Keep what is finished, with keys, so that the artefact can be used as it is."""
    done = [(requests, found[number].edits) for number, requests in chunks if number in found]
    keys = session.router.keys([request for requests, _ in done for request in requests]) if done else []
    edits = [edit for _, chunk in done for edit in chunk]
    save_edits(session, name, [replace(edit, key=key) for edit, key in zip(edits, keys, strict=True)])
