from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest
from omegaconf import MISSING, OmegaConf

from ldke_pl.config import (
    CONF_DIR,
    EditConfig,
    EditorConfig,
    FileConfig,
    RunConfig,
    TrainConfig,
    load_config,
    save_config,
)
from ldke_pl.config.fields import field
from ldke_pl.config.sources import find_groups
from ldke_pl.errors import ConfigError

MAIN: dict[str, type] = {"edit": EditConfig, "train": TrainConfig}


def edit(*argv: str) -> EditConfig:
    return load_config(EditConfig, CONF_DIR / "edit.yaml", argv)


def faults(*argv: str) -> list[str]:
    """The faults that ``argv`` brings, without their bullets."""
    with pytest.raises(ConfigError) as caught:
        edit(*argv)
    head, *listed = caught.value.message.split("\n  - ")
    assert head == f"The configuration has {len(listed)} fault{'s' if len(listed) > 1 else ''}:"
    assert "python edit.py --help" in caught.value.hint
    return listed


def test_defaults_come_from_conf() -> None:
    config = edit()
    assert (config.model.name, config.data.format, config.data.split) == ("atlas", "atlas", "edit-eval")
    assert {"ldke", "no_edit"} <= config.editor.keys()
    assert config.editor["ldke"].cls == "ldke_pl.editors.ldke.LDKE"
    assert load_config(TrainConfig, CONF_DIR / "train.yaml", []).data.split == "router-train"


def test_values_are_read_as_yaml() -> None:
    config = edit("localizer.tau=1e-1", "data.limit=20", "run.seeds=[1, 2]", "model.trust_remote_code=true")
    assert (config.localizer.tau, config.data.limit, config.run.seeds) == (0.1, 20, [1, 2])
    assert config.model.trust_remote_code is True
    assert edit("data.limit=7", "data.limit=null").data.limit is None
    assert edit("run={seeds: [3], joint: 5}").run.joint == 5
    assert edit("run.joint=${run.batch_size}", "run.batch_size=9").run.joint == 9


@pytest.mark.parametrize("text", ["010", "on", "1e5", "2026-01-01", "a=b", "~/x y"])
def test_text_stays_as_typed(text: str) -> None:
    assert edit(f"run.dir={text}").run.dir == text


def test_group_choice_takes_its_file_and_arguments_win() -> None:
    config = edit("logger=wandb", "logger.mode=online", "localizer=all", "router=radius")
    assert (config.logger.name, config.logger.mode) == ("wandb", "online")
    assert (config.localizer.name, config.router.kind) == ("all", "radius")


def test_several_editors_are_set_apart() -> None:
    config = edit("editor=[ldke,ft_l]", "editor.ldke.rank=4", "editor.ft_l.lr=1")
    assert list(config.editor) == ["ldke", "ft_l"]
    assert (config.editor["ldke"].rank, config.editor["ft_l"].rank) == (4, EditorConfig().rank)
    assert (config.editor["ldke"].lr, config.editor["ft_l"].lr) == (EditorConfig().lr, 1.0)
    assert list(edit("editor=ft_v").editor) == ["ft_v"]


@pytest.mark.parametrize("beside", [[], ["data=plain"], ["data.format=plain"], ["data.path=my.jsonl"]])
def test_edits_stand_for_a_plain_file_of_which_all_are_made(beside: list[str]) -> None:
    config = edit("edits=my.jsonl", *beside)
    assert (config.data.format, config.data.path, config.data.distractors) == ("plain", "my.jsonl", [])
    assert config.run.sample is None
    assert config.run.joint > 10_000
    assert edit("edits=my.jsonl", "run.sample=3").run.sample == 3
    assert (edit("edits=null").data.format, edit("edits=null").run.sample) == ("atlas", edit().run.sample)


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("data.path=other.json", "edits: stands for data.path=my.jsonl, but data.path is other.json; give one"),
        ("data=atlas", "edits: is a file of data.format=plain, but data.format is atlas; give one"),
        ("run.protocols=[masked]", "edits: needs answers to show, but run.protocols is ['masked']; add generate"),
    ],
)
def test_edits_beside_what_contradicts_them(argument: str, fault: str) -> None:
    [found] = faults("edits=my.jsonl", argument)
    assert found.startswith(fault)


def test_edits_come_back_from_a_saved_configuration(tmp_path: Path) -> None:
    config = edit("edits=my.jsonl", "run.sample=5")
    save_config(config, tmp_path / "config.yaml")
    assert edit(f"config={tmp_path / 'config.yaml'}") == config


def test_two_loads_share_nothing() -> None:
    edit().run.seeds.append(5)
    RunConfig().seeds.append(5)
    assert edit().run.seeds == RunConfig().seeds == [0]


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("localizer.tua=1", "localizer.tua: no such key; did you mean localizer.tau?"),
        ("tau=1", "tau: no such key; did you mean localizer.tau?"),
        ("modle=atlas", "modle: no such key; did you mean model?"),
        ("xyzzy=1", "xyzzy: no such key"),
        ("editor.ldke.rnk=1", "editor.ldke.rnk: no such key; did you mean editor.ldke.rank?"),
        ("run=fast", "run: is a section and takes no value itself; set keys in it, as in run.dir=..."),
    ],
)
def test_unknown_key(argument: str, fault: str) -> None:
    assert faults(argument) == [fault]


def test_key_of_an_editor_that_was_not_chosen() -> None:
    expected = "editor.ldke.rank: ldke is not among the chosen ones (ft_l); add it to editor=[...]"
    assert faults("editor=ft_l", "editor.ldke.rank=2") == [expected]


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("run.joint=many", "run.joint: expected int, but got 'many' (str)"),
        ("run.joint=1.5", "run.joint: expected int, but got 1.5 (float)"),
        ("run.joint=true", "run.joint: expected int, but got True (bool)"),
        ("run.joint=", "run.joint: expected int, but got null"),
        ("data.limit=x", "data.limit: expected int or null, but got 'x' (str)"),
        ("run.seeds=3", "run.seeds: expected list[int], but got 3 (int); a list is written run.seeds=[3]"),
        ("run.seeds=[a]", "run.seeds: expected list[int], but got ['a'] (list)"),
        ("model.trust_remote_code=maybe", "model.trust_remote_code: expected bool, but got 'maybe' (str)"),
        ("model.trust_remote_code=3", "model.trust_remote_code: expected bool, but got 3 (int)"),
        ("localizer.site=[a]", "localizer.site: expected str or null, but got ['a'] (list)"),
    ],
)
def test_wrong_type(argument: str, fault: str) -> None:
    assert faults(argument) == [fault]


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("model=atlsa", "model: no choice 'atlsa'; choices are atlas, atlas_qwen2_vl, blip2_opt_2_7b, "),
        ("logger=off", "logger: no choice 'off'; choices are csv, none, wandb"),
        ("logger=[csv]", "logger: takes one choice, but got ['csv']"),
        ("editor=[]", "editor: expected one or more different choices, but got []"),
        ("editor=[ldke,ldke]", "editor: expected one or more different choices, but got ['ldke', 'ldke']"),
    ],
)
def test_unknown_choice(argument: str, fault: str) -> None:
    [found] = faults(argument)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("localizer.tau=0", "localizer.tau: must be > 0 and <= 1, but got 0.0"),
        ("localizer.tau=1.01", "localizer.tau: must be > 0 and <= 1, but got 1.01"),
        ("editor.ldke.rank=0", "editor.ldke.rank: must be >= 1, but got 0"),
        ("editor.ldke.lr=.nan", "editor.ldke.lr: must be > 0 and <= 1e+30, but got nan"),
        ("editor.ldke.lr=.inf", "editor.ldke.lr: must be > 0 and <= 1e+30, but got inf"),
        ("router.threshold=1.5", "router.threshold: must be >= 0 and <= 1, but got 1.5"),
        ("run.seeds=[1,-1]", "run.seeds: must be >= 0, but got -1"),
        ("run.seeds=[]", "run.seeds: must not be empty"),
        ("run.seeds=[1,1]", "run.seeds: must not repeat a value, but got [1, 1]"),
        ("run.modes=[jiont]", "run.modes: must be one of single, joint, but got 'jiont'; did you mean joint?"),
        ("model.dtype=float23", "model.dtype: must be one of auto, float32, bfloat16, float16, but got 'float23'"),
        ("data=vlkeb", "data.root: must name the folder of the data set when data.format is 'vlkeb'"),
        ("run.joint=${no.such}", "run.joint: cannot be resolved: Interpolation key 'no.such' not found"),
    ],
)
def test_value_out_of_range(argument: str, fault: str) -> None:
    [found] = faults(argument)
    assert found.startswith(fault)


@pytest.mark.parametrize("argument", ["localizer.tau=1", "router.threshold=0", "router.threshold=1", "data.limit=1"])
def test_ends_of_a_range_are_accepted(argument: str) -> None:
    key, _, value = argument.partition("=")
    assert OmegaConf.select(OmegaConf.structured(edit(argument)), key) == float(value)


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("fast", "fast: expected key=value"),
        ("=3", "=3: expected key=value"),
        ("--seed=3", "--seed=3: arguments are written key=value, without dashes"),
        ("run.seeds=[1", "run.seeds=[1: the value is not YAML"),
        ("config=/no/such.yaml", "/no/such.yaml: cannot be read"),
    ],
)
def test_malformed_argument(argument: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(argument))


def test_all_faults_come_in_one_message() -> None:
    found = faults(
        "fast", "model=atlsa", "localizer.tau=2", "localizer.tua=1", "run.joint=x", "data=vlkeb", "editor.ldke.rank=0"
    )
    starts = ["fast:", "model:", "localizer.tua:", "run.joint:", "editor.ldke.rank:", "localizer.tau:", "data.root:"]
    assert [fault.split()[0] for fault in found] == starts


def test_unknown_key_does_not_hide_a_rule_of_its_section() -> None:
    assert [fault.split()[0] for fault in faults("data=vlkeb", "data.xyzzy=1")] == ["data.xyzzy:", "data.root:"]


def test_fault_in_a_file_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, "conf/editor/a.yaml", "cls: x.Y\nrnk: 3\n")
    write(tmp_path, "conf/editor/b.yaml", "rank: 3\n")
    write(tmp_path, "conf/model/m.yaml", "- 1\n")
    write(tmp_path, "conf/logger/l.yaml", "name: [\n")
    main = "defaults: {editor: [a, b], modle: m, model: m, logger: l, router: r}\nrun: {joint: 0, sample: x}\n"
    file = write(tmp_path, "conf/edit.yaml", main)
    with pytest.raises(ConfigError) as caught:
        load_config(EditConfig, file, [])
    message = caught.value.message
    for fault in (
        "defaults.modle: no such group; did you mean model?",
        "defaults.router: no choice 'r'",
        "editor.a.rnk (conf/editor/a.yaml): no such key; did you mean editor.a.rank?",
        "editor.b.cls: needs a value: dotted path of the editor's class",
        f"{tmp_path}/conf/model/m.yaml: expected keys with values, but got [1]",
        f"{tmp_path}/conf/logger/l.yaml: is not YAML",
        "run.joint (conf/edit.yaml): must be >= 1, but got 0",
        "run.sample (conf/edit.yaml): expected int or null, but got 'x' (str)",
    ):
        assert f"\n  - {fault}" in message
    assert message.startswith("The configuration has 8 faults:")


def test_a_choice_drops_what_the_main_file_says_about_its_group(tmp_path: Path) -> None:
    write(tmp_path, "conf/logger/a.yaml", "project: a\n")
    write(tmp_path, "conf/editor/e.yaml", "cls: x.Y\n")
    file = write(tmp_path, "conf/edit.yaml", "defaults: {logger: a, editor: e}\nlogger: {project: own}\n")
    assert load_config(EditConfig, file, []).logger.project == "own"
    assert load_config(EditConfig, file, ["logger=a"]).logger.project == "a"


@pytest.mark.parametrize(
    ("main", "fault"),
    [
        ("", "editor: needs at least one editor"),
        ("editor: {}\n", "editor: needs at least one editor"),
        ("editor: 3\n", "editor \\(conf/edit.yaml\\): is a section and takes no value"),
        ("defaults: 3\n", "defaults: expected group: choice, but got 3"),
    ],
)
def test_nothing_to_run(tmp_path: Path, main: str, fault: str) -> None:
    file = write(tmp_path, "conf/edit.yaml", main)
    with pytest.raises(ConfigError, match=fault):
        load_config(EditConfig, file, [])


@dataclass(kw_only=True)
class One:
    size: int = field(MISSING, help="size in metres", ge=1)


def test_new_field_takes_one_line(tmp_path: Path) -> None:
    file = write(tmp_path, "one.yaml", "")
    assert load_config(One, file, ["size=3"]) == One(size=3)
    with pytest.raises(ConfigError, match=r"size: needs a value: size in metres"):
        load_config(One, file, [])
    with pytest.raises(ConfigError, match=r"size: must be >= 1, but got 0"):
        load_config(One, file, ["size=0"])


@pytest.mark.parametrize("text", ["010", "null", "true", "1e-3", "~", "", " a: b #c", "ünï", "2026-01-01", "a\nb"])
def test_saved_config_loads_again(tmp_path: Path, text: str) -> None:
    config = edit("editor=[ldke,ft_v]", "editor.ldke.lr=1e-5", "run.seeds=[4,5]", "router.layers=[0,2]", "data.limit=3")
    config.run.dir = text
    save_config(config, tmp_path / "config.yaml")
    assert edit(f"config={tmp_path / 'config.yaml'}") == config


def test_saved_config_can_be_changed(tmp_path: Path) -> None:
    save_config(edit("editor=[ldke,ft_v]", "run.joint=${run.batch_size}"), tmp_path / "config.yaml")
    saved = f"config={tmp_path / 'config.yaml'}"
    assert edit(saved).run.joint == edit().run.batch_size
    assert edit(saved, "editor.ft_v.rank=3").editor["ft_v"].rank == 3
    assert list(edit(saved, "editor=no_edit").editor) == ["no_edit"]


CHOICES = [
    (program, group, choice)
    for program, schema in MAIN.items()
    for group, found in find_groups(schema, CONF_DIR).items()
    for choice in found.choices
]


@pytest.mark.parametrize(("program", "group", "choice"), CHOICES)
def test_every_choice_composes(program: str, group: str, choice: str) -> None:
    argv = [f"{group}={choice}", "data.root=/images"]
    config: Any = load_config(MAIN[program], CONF_DIR / f"{program}.yaml", argv)
    section = asdict(config)[group]
    written = OmegaConf.to_container(OmegaConf.load(CONF_DIR / group / f"{choice}.yaml"), resolve=True)
    assert isinstance(written, dict)
    assert written.items() <= section.get(choice, section).items()


def test_no_file_in_conf_is_out_of_reach() -> None:
    reached = {CONF_DIR / group / f"{choice}.yaml" for _, group, choice in CHOICES}
    others = {
        CONF_DIR / "edit.yaml",
        CONF_DIR / "train.yaml",
        CONF_DIR / "file.yaml",
        CONF_DIR / "check.yaml",
        CONF_DIR / "app.yaml",
        *(CONF_DIR / "sweep").glob("*.yaml"),
    }
    assert set(CONF_DIR.rglob("*.*")) == reached | others


@pytest.mark.parametrize("file", sorted((CONF_DIR / "sweep").glob("*.yaml")), ids=lambda file: file.stem)
def test_sweeps_expand_to_arguments_that_load(file: Path) -> None:
    sweep = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(sweep, dict)
    schema = {"edit.py": EditConfig, "train.py": TrainConfig}[sweep["program"]]
    base = CONF_DIR / Path(sweep["program"]).with_suffix(".yaml")
    assert sweep["command"] == ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
    fixed = [f"{key}={values['value']}" for key, values in sweep["parameters"].items() if "value" in values]
    choices = {key: values["values"] for key, values in sweep["parameters"].items() if "values" in values}
    for values in product(*choices.values()):
        chosen = (f"{key}={value}" for key, value in zip(choices, values, strict=True))
        config = load_config(schema, base, [*fixed, *chosen])
        found = [OmegaConf.select(OmegaConf.structured(config), key) for key in choices]
        assert found == [*values]


def test_the_threshold_is_searched_with_a_localizer_that_has_one() -> None:
    rules = OmegaConf.load(CONF_DIR / "sweep" / "threshold.yaml").parameters
    assert edit(f"localizer={rules.localizer.value}").localizer.name not in ("best_fixed_per_kind", "fixed", "all")


def test_peers_are_chosen_on_validation_with_one_budget() -> None:
    sweeps = {file.stem: OmegaConf.load(file) for file in (CONF_DIR / "sweep").glob("*.yaml")}
    trained = {name: sweep.metric.name for name, sweep in sweeps.items() if sweep.program == "train.py"}
    assert trained == {name: f"{name}/validation/loss" for name in ("mend", "mscke", "serac")}
    peers = {name: sweep.parameters for name, sweep in sweeps.items() if name != "threshold"}
    budgets = {name: prod(len(r["values"]) for r in rules.values() if "values" in r) for name, rules in peers.items()}
    assert {*budgets.values()} == {6}, budgets
    assert {rules["data.split"].value for name, rules in peers.items() if name not in trained} == {"router-val"}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        edit("nonsense", flag)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "  data: *atlas, cckeb, comprehendedit, fgvedit, mcmke, mmedit, mmke, okedit, plain, shards, vlkeb\n" in text
    assert "  localizer.tau: float = 0.9\n      sites with score >= tau * max are selected" in text
    assert "[> 0 and <= 1]" in text
    assert "  data.limit: int or null = null\n" in text
    assert "[one of auto, float32, bfloat16, float16]" in text
    assert "  editor.ldke.rank: int = " in text


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_other_programs_are_called_by_their_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(FileConfig, CONF_DIR / "file.yaml", ["data.pth=x"], "-m some.program")
    assert caught.value.hint.startswith("`python -m some.program --help`")
    with pytest.raises(SystemExit):
        load_config(FileConfig, CONF_DIR / "file.yaml", ["--help"], "-m some.program")
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m some.program [group=choice ...]")
    assert "the default is in file.yaml" in text


@pytest.mark.parametrize("others", [[], ["data.train=a.json", "data.eval=b.json"]])
def test_deleak_needs_one_other_file(others: list[str]) -> None:
    assert faults("data.deleak=true", *others)[0].startswith("data.deleak: needs one other file: data.train=FILE")
    assert edit("data.deleak=true", "data.train=a.json").data.deleak is True


def test_two_files_to_compare_are_a_place_for_the_data() -> None:
    assert faults("data.format=vlkeb") == [
        "data.root: must name the folder of the data set when data.format is 'vlkeb'"
    ]
    assert faults("data=vlkeb", "data.train=a.json")
    assert edit("data=vlkeb", "data.train=a.json", "data.eval=b.json").data.path is None
