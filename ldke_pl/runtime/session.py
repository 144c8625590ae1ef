"""One run of ``edit.py``: what it loads and refuses before anything is computed, and what its methods cost."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from filelock import BaseFileLock
from lightning.pytorch.loggers import Logger
from rich.console import Console

from ldke_pl.backbone import Backbone, load_backbone
from ldke_pl.backbone.load import ATLAS_FOLDER, ATLAS_ROUTER
from ldke_pl.config import EditConfig, EditorConfig, LocalizerConfig
from ldke_pl.data import EditCase, EditRequest, Question
from ldke_pl.editors import DemonstratedEditor, Editor, GatedEditor, Sites, TrainedEditor, build_editor
from ldke_pl.editors.store import load_trained
from ldke_pl.errors import ConfigError, EditError, LDKEError
from ldke_pl.localize import Calibration, build_localizer
from ldke_pl.metrics.summary import INDEX
from ldke_pl.router import FeatureReader, RadiusRouter, Router, load_router
from ldke_pl.runtime.data import check_images, load_cases, load_distractors, sampled
from ldke_pl.runtime.folder import build_logger, commit, open_run
from ldke_pl.runtime.own_cases import own_cases
from ldke_pl.runtime.trainer import build_trainer


@dataclass
class Costs:
    """What one method took, over all seeds.

    Args:
        edits: how many there are.
        seconds, localize: what making them took, and choosing their sites.
        stored: bytes of all edits.
    """

    edits: int = 0
    seconds: float = 0.0
    localize: float = 0.0
    stored: int = 0

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def figures(self) -> dict[str, float]:
        """Means per edit."""
        count = max(1, self.edits)
        return {
            "seconds_per_edit": self.seconds / count, "seconds_localize": self.localize / count,
            "bytes_per_edit": self.stored / count,
        }  # fmt: skip


@dataclass
class Session:
    """One run of ``edit.py``.

    Args:
        lock: keeps others out of the run folder as long as the session is there.
        distractors: edits that no case is about, for larger indices.
    """

    config: EditConfig
    folder: Path
    backbone: Backbone
    router: Router
    calibration: Calibration
    cases: list[EditCase]
    console: Console
    logger: Logger | bool
    lock: BaseFileLock | None = None
    distractors: list[EditRequest] = field(default_factory=list)
    commit: str = ""
    costs: dict[str, Costs] = field(default_factory=dict)

    @property
    def requests(self) -> list[EditRequest]:
        return [case.request for case in self.cases]

    def joint(self) -> list[int]:
        """Positions of the cases that are applied together: the contradiction-free ones."""
        return [i for i, case in enumerate(self.cases) if case.joint][: self.config.run.joint]

    def sizes(self) -> list[int]:
        """After how many of the joint set's edits, made one after another, all of them are asked again."""
        return sorted({min(n, len(self.joint())) for n in self.config.run.sequence if self.joint()})

    def crowded(self) -> dict[str, int]:
        """Modes in which distractors fill the index of the joint set, and how many of them."""
        return {f"{INDEX}_{n}": n - len(self.joint()) for n in sorted(self.config.run.index)}


def prepare(config: EditConfig, console: Console, *, shared: bool = False) -> Session:
    """Load everything and refuse what cannot work, before anything is computed.

    Args:
        shared: edits can be made on several devices.
    """
    if config.trainer.devices * config.trainer.num_nodes > 1 and not shared:
        raise ConfigError("This makes edits on one device.", "set trainer.devices=1 trainer.num_nodes=1")
    folder, lock = open_run(config, "edit")
    logger = build_logger(config.logger, folder)
    trainer = build_trainer(config.trainer, folder, logger)
    cases = sampled(load_cases(config.data), config.run.sample)
    if config.edits is not None:
        cases = own_cases(cases, folder, console)
    check_images(cases)
    backbone = load_backbone(config.model, trainer.strategy.root_device)
    check_questions(backbone, cases)
    place = router_folder(config)
    if config.router.kind == "radius" or place is None:
        if config.router.kind != "radius":
            console.print("No trained router for this model: the training-free radius router is used.", style="yellow")
        router: Router = RadiusRouter(FeatureReader(backbone, config.router.layers))
    else:
        router = load_router(backbone, place)
    if config.router.threshold is not None:
        router.threshold = config.router.threshold
    calibration = Calibration.load(place)
    session = Session(config, folder, backbone, router, calibration, cases, console, logger, lock, commit=commit())
    session.distractors = _distractors(session)
    return session


def _distractors(session: Session) -> list[EditRequest]:
    """The edits that fill the largest index that is asked for.

    Raises:
        ConfigError: there are too few, or an index would not hold even the joint set.
    """
    if session.config.run.index and min(session.config.run.index) <= len(session.joint()):
        raise ConfigError(
            f"run.index asks for {min(session.config.run.index)} keys, but the joint set alone has "
            f"{len(session.joint())}.",
            "ask for a larger index, or set run.joint to fewer edits",
        )
    wanted = max(session.crowded().values(), default=0)
    found = load_distractors(session.config.data) if wanted else []
    if len(found) < wanted:
        most, names = len(session.joint()) + len(found), session.config.data.distractors
        raise ConfigError(
            f"run.index asks for {max(session.config.run.index)} keys, but the joint set and data.distractors={names} "
            f"have {most}.",
            "name more splits or files in data.distractors, or ask for a smaller index",
        )
    check_images([replace(case, probes=()) for case in found[:wanted]])
    return [case.request for case in found[:wanted]]


def router_folder(config: EditConfig) -> Path | None:
    """Where the model's router and localizer calibration are; None where it has none of its own."""
    if config.model.router:
        return Path(config.model.router)
    return ATLAS_ROUTER if config.model.name == "atlas" else None


def check_questions(backbone: Backbone, cases: Sequence[EditCase]) -> None:
    """Encode every request, and every probe that is long enough to exceed the context, before the first edit.

    Raises:
        EditError: a prompt or target is empty or too long; names the case.
    """
    prompts = backbone.prompts
    for case in cases:
        question = Question(case.request.image, case.request.prompt)
        try:
            prompts.encode_answers([question], [case.request.target])
            for probe in case.probes:
                told = probe.expected or "?"
                # A token is at least a byte: what is shorter fits, unless pictures take most of the context.
                if len((probe.prompt + told).encode()) > prompts.context // 8:
                    prompts.encode_answers([Question(probe.image, probe.prompt)], [told])
        except LDKEError as fault:
            raise EditError(f"{case.case_id}: {fault.message}", fault.hint) from fault


def choose_sites(
    backbone: Backbone, settings: EditorConfig, localizer: LocalizerConfig, calibration: Calibration, seed: int
) -> Sites:
    """The localizer, or the fixed site that the method's settings name."""
    if settings.sites in ("last", "middle", "all", "random"):
        localizer = replace(localizer, name=settings.sites)
    elif settings.sites != "localized":
        localizer = replace(localizer, name="fixed", site=settings.sites)
    return build_localizer(backbone, localizer, calibration, seed)


def prepared_editor(session: Session, name: str, settings: EditorConfig, sites: Sites) -> Editor:
    """A method that is ready to edit: with what it was trained to, where it needs that.

    Raises:
        ConfigError: it has no gate of its own, but is to use one.
        ArtefactError: it was not trained for this model.
    """
    editor = build_editor(session.backbone, settings, sites)
    if settings.routing == "own" and not isinstance(editor, GatedEditor):
        raise ConfigError(f"{settings.cls} has no gate of its own.", f"set editor.{name}.routing=shared, or none")
    kept = ATLAS_FOLDER / "editors" / name if session.config.model.name == "atlas" else None
    learned = Path(settings.weights) if settings.weights else kept
    if isinstance(editor, TrainedEditor):
        load_trained(editor, settings.cls, session.backbone, learned)
    if isinstance(editor, DemonstratedEditor):
        editor.show(learned)
    return editor
