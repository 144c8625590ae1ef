"""Every setting of ``train.py`` and ``edit.py``, with its unit and range. All defaults here are ours."""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as section
from typing import Any

from omegaconf import MISSING

from ldke_pl.config.fields import field


@dataclass(kw_only=True)
class ModelConfig:
    """The base model; its weights never change."""

    name: str = field("atlas", help="'atlas', a hub id, or a Hugging Face model folder", nonempty=True)
    dtype: str = field("float32", help="dtype of the base weights", choices=("auto", "float32", "bfloat16", "float16"))
    quantization: str | None = field(
        None,
        help="load the base in few bits, with the extra [quantized]; null: as it is stored",
        choices=("torchao-int8", "bitsandbytes-4bit"),
    )
    revision: str | None = field(None, help="hub revision (branch, tag or commit); null: the newest")
    attn_implementation: str | None = field(None, help="attention kernel by its transformers name; null: its default")
    device_map: str | None = field(None, help="spread one model over devices (needs accelerate); null: one device")
    trust_remote_code: bool = field(False, help="run code that ships with the model")
    router: str | None = field(None, help="folder of the router trained for this model; null: none of its own")


@dataclass(kw_only=True)
class DataConfig:
    """The edits and their probes."""

    format: str = field(
        "atlas",
        help="reader of the annotation file: a name in conf/data, or the dotted path of one's own",
        nonempty=True,
    )
    path: str | None = field(None, help="annotation file; null: the format's usual name under data.root")
    root: str | None = field(
        None, help="folder that image paths are relative to; null: the format's own folder, of plain the file's"
    )
    split: str = field("edit-eval", help="part of the data set (Atlas: router-train, router-val, edit-eval)")
    limit: int | None = field(None, help="first N cases of the file; null: all", ge=1)
    missing_images: str = field("error", help="what to do about a picture that is not there", choices=("error", "skip"))
    train: str | None = field(None, help="training file that these edits are compared with; null: none")
    eval: str | None = field(None, help="evaluation file that these edits are compared with; null: none")
    distractors: list[str] = field([], help="splits (Atlas) or annotation files whose edits fill a larger run.index")
    deleak: bool = field(False, help="leave out what also occurs in data.train (edit.py) or in data.eval (train.py)")

    def check(self) -> Iterator[tuple[str, str]]:
        """Published data sets are not shipped: their place must be given."""
        compared = self.train is not None and self.eval is not None
        if self.format != "atlas" and self.path is None and self.root is None and not compared:
            yield "root", f"must name the folder of the data set when data.format is {self.format!r}"
        if self.deleak and (self.train is None) == (self.eval is None):
            yield "deleak", "needs one other file: data.train=FILE in edit.py, or data.eval=FILE in train.py"


@dataclass(kw_only=True)
class ShardsConfig:
    """Where ``python -m ldke_pl.data shard`` writes."""

    folder: str | None = field(None, help="folder of the shards; new, empty, or one that this command began")
    cases: int = field(256, help="cases per shard; about 100 MB a shard reads well", ge=1)


@dataclass(kw_only=True)
class FileConfig:
    """Settings of ``python -m ldke_pl.data``, which looks at annotation files."""

    data: DataConfig = section(default_factory=DataConfig)
    shards: ShardsConfig = section(default_factory=ShardsConfig)


@dataclass(kw_only=True)
class EditorConfig:
    """One editing method."""

    cls: str = field(MISSING, help="dotted path of the editor's class", nonempty=True)
    sites: str = field(
        "localized", help="'localized', or a fixed choice: last, connector, decoder.3, ...", nonempty=True
    )
    rank: int = field(8, help="rank of a delta", ge=1)
    lr: float = field(1e-2, help="learning rate of the deltas", gt=0, le=1e30)
    steps: int = field(40, help="most optimiser steps per edit", ge=1)
    stop_loss: float = field(0.01, help="an edit stops when its loss (nats per answer token) falls below this", ge=0)
    views: int = field(5, help="augmented copies of the edit's picture in the objective", ge=1)
    views_per_step: int = field(0, help="how many of them a step sees, in turns; 0: all of them", ge=0)
    batch_size: int = field(32, help="edits solved in one forward", ge=1)
    checkpointing: bool | None = field(
        None,
        help="compute activations again in the backward pass: far less memory, half as long again; null: where the "
        "model has over a billion parameters",
    )
    compile: bool = field(False, help="torch.compile the layers that no edit is written to: pays for many edits")
    eps: float = field(1e-8, help="epsilon of Adam", gt=0)
    propagation_weight: float = field(0.0, help="weight of mention distillation in the loss", ge=0)
    propagation_beta1: float = field(
        0.9, help="how much of Adam's mean gradient stays from step to step of an edit that propagates", ge=0, le=0.9999
    )
    propagation_beta2: float = field(0.999, help="the same of its mean square", ge=0, le=0.9999)
    propagation_groups: list[str] = field(["entity"], help="groups of edits whose target says what the picture shows")
    norm_weight: float = field(0.0, help="weight of the deltas' squared norm in the loss", ge=0)
    routing: str = field(
        "shared",
        help="what sends queries to edits: the run's router (shared), the method's own gate (own), nothing (none)",
        choices=("shared", "own", "none"),
    )
    radius: float = field(1.0, help="radius of a new key's ball (GRACE), Euclidean distance of activations", gt=0)
    balance: float = field(0.97, help="weight of the near example against the far one in a radius", ge=0, le=1)
    statements: list[str] = field([], help="how a fact is told in words: KEYWORD in the question, colon, sentence")
    demonstrations: int = field(
        0, help="other facts, with questions and answers, that are shown before one (IKE)", ge=0
    )
    density: float = field(0.2, help="share of a side memory's weights that edits may change (WISE)", gt=0, le=1)
    shards: int = field(2, help="side memories that edits in force together are spread over and merged from", ge=1)
    shard_batch: int = field(1, help="edits written to a side memory at once, one such batch after another", ge=1)
    act_alpha: float = field(0.25, help="most activation of unrelated questions; 1 is the layer's own output", ge=0)
    act_beta: float = field(1.0, help="least activation of an edit's own question, in the same unit", ge=0)
    act_gamma: float = field(0.5, help="least distance between the two, in the same unit", ge=0)
    act_ratio: float = field(0.88, help="share of the edits' least activation that opens a side memory's gate", gt=0)
    weights: str | None = field(None, help="folder of what train.py editor=NAME made; null: the one kept for the model")
    train_steps: int = field(300, help="optimiser steps of train.py editor=NAME", ge=1)
    train_lr: float = field(1e-3, help="learning rate of train.py editor=NAME", gt=0)
    train_batch: int = field(8, help="edits per step of train.py editor=NAME", ge=1)


@dataclass(kw_only=True)
class LocalizerConfig:
    """Where an edit is written."""

    name: str = field(
        "cosine",
        help="cosine, gradient, attribution, middle, last, ..., or the dotted path of one's own",
        nonempty=True,
    )
    tau: float = field(0.9, help="sites with score >= tau * max are selected; a fraction", gt=0, le=1)
    site: str | None = field(None, help="the one site of a localizer that uses a fixed one; null: it chooses itself")
    max_sites: int = field(1, help="most sites selected per edit", ge=1)


@dataclass(kw_only=True)
class RouterConfig:
    """The Disentanglement Classifier and its key index, or the training-free radius fallback."""

    kind: str = field("classifier", help="which router", choices=("classifier", "radius"))
    threshold: float | None = field(None, help="least relevance in [0, 1] that routes; null: as calibrated", ge=0, le=1)
    layers: list[int] | None = field(None, help="decoder layers read; null: the lowest quarter", ge=0, nonempty=True)
    naming: str | None = field(
        "What is the name of what is shown?", help="question for the name of what an edit shows; null: do not ask"
    )
    streams: str = field(
        "both", help="what is compared: thing and question, or one alone", choices=("both", "thing", "question")
    )
    width: int = field(128, help="hidden size of the pair head", ge=1)
    kept: int = field(256, help="numbers kept of a layer's state in a key, a multiple of 4; wider are projected", ge=4)
    cohort: int = field(36, help="pictures of training edits that every match is compared with", ge=1)
    things: int = field(100, help="things that an index's edits are about, as the threshold is calibrated for", ge=1)
    lr: float = field(2e-3, help="learning rate", gt=0)
    steps: int = field(350, help="optimiser steps of training", ge=1)
    batch_size: int = field(32, help="edits, with all their probes, per optimiser step of all processes", ge=2)
    weight_decay: float = field(0.3, help="AdamW weight decay", ge=0)
    dropout: float = field(0.5, help="fraction of features dropped in training", ge=0, le=0.9)
    held_out_relations: list[str] = field([], help="relations never shown in training")


@dataclass(kw_only=True)
class TrainerConfig:
    """Arguments of ``lightning.Trainer``."""

    accelerator: str = field("auto", help="auto (a CUDA GPU, or else the CPU), cpu, gpu, ...")
    devices: int = field(1, help="devices per node", ge=1)
    strategy: str = field("auto", help="auto, ddp, ddp_fork, ...")
    precision: str = field(
        "32-true",
        help="arithmetic of the base; deltas stay in fp32",
        choices=("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"),
    )
    num_nodes: int = field(1, help="machines", ge=1)


@dataclass(kw_only=True)
class LoggerConfig:
    """Where figures go besides the run folder."""

    name: str = field("csv", help="which logger", choices=("csv", "wandb", "none"))
    project: str = field("ldke-pl", help="W&B project", nonempty=True)
    mode: str = field("offline", help="W&B mode; offline needs no account", choices=("offline", "online"))


@dataclass(kw_only=True)
class RunConfig:
    """What is run, how much of it, and where it is written."""

    dir: str | None = field(None, help="run folder; null: experiments/runs/<name>")
    seeds: list[int] = field([0], help="one run of everything per seed", ge=0, nonempty=True)
    modes: list[str] = field(
        ["single", "joint"], help="each edit alone, all edits together", choices=("single", "joint"), nonempty=True
    )
    protocols: list[str] = field(
        ["generate", "masked", "vlkeb"],
        help="how an answer is scored",
        choices=("generate", "masked", "vlkeb"),
        nonempty=True,
    )
    sample: int | None = field(None, help="edits drawn per group; null: all", ge=1)
    joint: int = field(300, help="most edits applied together in joint mode", ge=1)
    sequence: list[int] = field([], help="also make the joint set's edits one after another; ask after so many", ge=1)
    index: list[int] = field([], help="also ask the joint set in an index of so many keys, with data.distractors", ge=1)
    resamples: int = field(1000, help="bootstrap resamples of an interval", ge=1)
    batch_size: int = field(64, help="probes in one forward", ge=1)
    storage: str = field("float32", help="dtype that finished deltas are kept in", choices=("float32", "bfloat16"))

    def check(self) -> Iterator[tuple[str, str]]:
        """Nothing is run twice."""
        given: dict[str, list[Any]] = {
            name: getattr(self, name) for name in ("seeds", "modes", "protocols", "sequence", "index")
        }
        for name, values in given.items():
            if len({*values}) < len(values):
                yield name, f"must not repeat a value, but got {values}"


@dataclass(kw_only=True)
class CheckConfig:
    """Settings of ``python -m ldke_pl.backbone check``, which tries editing on a model."""

    model: ModelConfig = section(default_factory=ModelConfig)


@dataclass(kw_only=True)
class AppConfig:
    """Settings of ``python -m ldke_pl.app``, the live page."""

    model: ModelConfig = section(default_factory=ModelConfig)
    edits: str | None = field(
        None,
        help="folder of saved edits to begin with; it is not written to. Its base is used unless model.* says more",
    )
    port: int = field(7860, help="port on 127.0.0.1, where the page is served", ge=1, le=65535)


@dataclass(kw_only=True)
class EditConfig:
    """Settings of ``edit.py``."""

    edits: str | None = field(
        None, help="edits of your own, a JSON, JSON lines or CSV file: stands for data.format=plain data.path=FILE"
    )
    model: ModelConfig = section(default_factory=ModelConfig)
    data: DataConfig = section(default_factory=DataConfig)
    editor: dict[str, EditorConfig] = section(default_factory=dict)
    localizer: LocalizerConfig = section(default_factory=LocalizerConfig)
    router: RouterConfig = section(default_factory=RouterConfig)
    trainer: TrainerConfig = section(default_factory=TrainerConfig)
    logger: LoggerConfig = section(default_factory=LoggerConfig)
    run: RunConfig = section(default_factory=RunConfig)

    def check(self) -> Iterator[tuple[str, str]]:
        """There is something to run, and only one file of edits."""
        if not self.editor:
            yield "editor", "needs at least one editor, as in editor=ldke"
        if self.edits is None:
            return
        if self.data.format != "plain":
            yield "edits", f"is a file of data.format=plain, but data.format is {self.data.format}; give one of the two"
        elif self.data.path != self.edits:
            yield "edits", f"stands for data.path={self.edits}, but data.path is {self.data.path}; give one of the two"
        if "generate" not in self.run.protocols:
            yield "edits", f"needs answers to show, but run.protocols is {self.run.protocols}; add generate"


@dataclass(kw_only=True)
class TrainConfig:
    """Settings of ``train.py``, which fits the router."""

    model: ModelConfig = section(default_factory=ModelConfig)
    data: DataConfig = section(default_factory=DataConfig)
    editor: dict[str, EditorConfig] = section(default_factory=dict)
    router: RouterConfig = section(default_factory=RouterConfig)
    trainer: TrainerConfig = section(default_factory=TrainerConfig)
    logger: LoggerConfig = section(default_factory=LoggerConfig)
    run: RunConfig = section(default_factory=RunConfig)
