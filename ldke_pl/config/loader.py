"""Compose a typed configuration from ``conf/`` and ``key=value`` arguments; report all faults at once.

Later sources win: defaults of the dataclasses, the YAML file of each group's choice, the other keys of the main
file, the arguments. A main file (``conf/edit.yaml``) names its groups' choices under ``defaults:``::

    defaults: {model: atlas, editor: [ldke, no_edit]}
    run: {joint: 300}

What it says under ``given:`` holds where that argument is given, in place of what it says elsewhere::

    given: {edits: {defaults: {data: plain}, run: {sample: null}}}

Arguments:
    ``group=choice`` takes ``conf/<group>/<choice>.yaml``, and what the main file says about that group is dropped;
    ``editor=[a,b]`` takes several, which are then set apart as ``editor.a.lr=...``;
    ``section.key=value`` sets one value, read as YAML;
    ``config=path`` starts from a saved ``config.yaml`` in place of the main file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ldke_pl.config.fields import Checked, Leaf, leaves, sections, suggest, type_name
from ldke_pl.config.sources import Entry, Group, find_groups, is_choice, parse_arguments, pick_choices, read_yaml
from ldke_pl.config.usage import usage
from ldke_pl.errors import ConfigError

CONF_DIR = Path(__file__).resolve().parents[2] / "conf"
"""The YAML files that stand beside the package in the repository."""

T = TypeVar("T")


def load_config(schema: type[T], file: Path, argv: Sequence[str], program: str = "") -> T:
    """Read ``file``, its groups and ``argv`` into a ``schema``.

    Args:
        schema: dataclass of sections, each a dataclass of :func:`~ldke_pl.config.fields.field`.
        file: the main YAML file; a folder beside it with the name of a section holds that section's choices.
        argv: arguments of the command line without the program's name.
        program: how the program is called, for messages; "" for ``<file's name>.py``.

    Raises:
        ConfigError: listing every fault found.
        SystemExit: with status 0 after printing the help, where ``argv`` asks for it.
    """
    program = program or f"{file.stem}.py"
    if {"-h", "--help"} & {*argv}:
        plain = _compose(schema, file, [])
        values = {key: _selected(plain.root, key) for key in plain.leaves}
        print(usage(program, file.name, plain.groups, plain.picks, plain.leaves.values(), values))
        raise SystemExit(0)
    draft = _compose(schema, file, argv)
    draft.check_values()
    draft.check_sections(schema)
    if draft.faults:
        count = f"{len(draft.faults)} fault{'s' if len(draft.faults) > 1 else ''}"
        listed = "".join(f"\n  - {fault}" for fault in draft.faults)
        hint = f"`python {program} --help` lists every key with its default and unit."
        raise ConfigError(f"The configuration has {count}:{listed}", hint)
    return cast(T, OmegaConf.to_object(draft.root))


def save_config(config: object, path: Path) -> None:
    """Write a configuration with every value, so that the argument ``config=<path>`` loads it again."""
    OmegaConf.save(OmegaConf.structured(config), path)


@dataclass
class _Draft:
    """A configuration under construction, and what was found wrong with it so far."""

    root: DictConfig
    groups: Mapping[str, Group]
    picks: Mapping[str, Sequence[str]]
    names: Mapping[str, Sequence[str]]
    leaves: Mapping[str, Leaf]
    faults: list[str]
    last: dict[str, Entry] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def fault(self, key: str, message: str) -> None:
        if key in self.leaves:
            self.bad.add(key)
        self.faults.append(f"{self.last.get(key, key)}: {message}")

    def set(self, entry: Entry) -> None:
        """Set one value, or note why it cannot be set."""
        self.last[entry.key] = entry
        leaf = self.leaves.get(entry.key)
        if leaf is None:
            self.fault(entry.key, self._unknown(entry.key))
            return
        value = entry.text if leaf.is_text and isinstance(entry.value, bool | int | float) else entry.value
        if leaf.hint is bool and isinstance(value, int | float) and not isinstance(value, bool):
            self.fault(entry.key, _mistyped(leaf, value))  # OmegaConf would take any number for true
            return
        try:
            OmegaConf.update(self.root, entry.key, value, merge=False)
        except OmegaConfBaseException:
            self.fault(entry.key, _mistyped(leaf, value))

    def check_values(self) -> None:
        """Hold every value that could be set against its field's rules."""
        for leaf in self.leaves.values():
            if leaf.key in self.bad:
                continue
            try:
                value = _selected(self.root, leaf.key)
            except OmegaConfBaseException as error:
                self.fault(leaf.key, f"cannot be resolved: {str(error).splitlines()[0]}")
                continue
            if value is None and not leaf.is_optional:
                self.fault(leaf.key, f"needs a value: {leaf.rules.help}")
            for message in leaf.rules.faults(value):
                self.fault(leaf.key, message)

    def check_sections(self, schema: type) -> None:
        """Ask the sections without a fault so far about their rules over several fields."""
        for prefix, _ in sections(schema, self.names):
            if any(key.startswith(prefix) for key in self.bad):
                continue
            section = OmegaConf.to_object(OmegaConf.select(self.root, prefix[:-1]) if prefix else self.root)
            if isinstance(section, Checked):
                for key, message in section.check():
                    self.fault(prefix + key, message)

    def _unknown(self, key: str) -> str:
        inside = next((leaf for leaf in self.leaves if leaf.startswith(f"{key}.")), None)
        if inside or key in self.groups:
            example = f"; set keys in it, as in {inside}=..." if inside else ""
            return f"is a section and takes no value itself{example}"
        group, _, rest = key.partition(".")
        name = rest.partition(".")[0]
        if group in self.names and name in self.groups[group].choices and name not in self.names[group]:
            return f"{name} is not among the chosen ones ({', '.join(self.names[group])}); add it to {group}=[...]"
        return f"no such key{suggest(key, [*self.groups, *self.leaves])}"


def _compose(schema: type, file: Path, argv: Sequence[str]) -> _Draft:
    faults: list[str] = []
    arguments = parse_arguments(argv, faults)
    saved = arguments.pop("config", None)
    start = Path(saved.text) if saved else file
    main = read_yaml(start, faults)
    defaults, beside = _given(main, arguments)
    groups = find_groups(schema, file.parent)
    picks = pick_choices(groups, defaults, arguments, faults)
    names = {key: picks[key] or _keys(main.get(key)) for key, group in groups.items() if group.multiple}
    found = {leaf.key: leaf for leaf in leaves(schema, names)}
    draft = _Draft(OmegaConf.structured(schema), groups, picks, names, found, faults)
    for key, several in names.items():
        for name in several:
            OmegaConf.update(draft.root, f"{key}.{name}", groups[key].section, merge=False)
    chosen = {key for key, group in groups.items() if is_choice(arguments.get(key), group)}
    told = [*main.items(), *beside]
    entries = [Entry(key, value, origin=_shown(start, file)) for key, value in told if key not in chosen]
    entries += [entry for key, entry in arguments.items() if key not in chosen]
    for entry in [*_chosen_files(groups, picks, file, faults), *entries]:
        for single in entry.flat(found):
            draft.set(single)
    return draft


def _given(main: dict[str, Any], arguments: Mapping[str, Entry]) -> tuple[Any, list[tuple[str, Any]]]:
    """Take ``defaults`` and ``given`` out of a main file: its choices, and what it sets beside what is given."""
    defaults, beside = main.pop("defaults", {}), []
    for name, rules in main.pop("given", {}).items():
        if name in arguments and arguments[name].value is not None:
            defaults = defaults | rules.pop("defaults", {})
            beside += [*rules.items()]
    return defaults, beside


def _chosen_files(
    groups: Mapping[str, Group], picks: Mapping[str, Sequence[str]], file: Path, faults: list[str]
) -> Iterator[Entry]:
    """Yield what the YAML file of every picked choice says, as one mapping each."""
    for key, several in picks.items():
        for name in several:
            path = groups[key].choices[name]
            prefix = f"{key}.{name}" if groups[key].multiple else key
            yield Entry(prefix, read_yaml(path, faults), origin=_shown(path, file))


def _shown(path: Path, file: Path) -> str:
    """Name a file as it stands in the repository: ``conf/editor/ldke.yaml``."""
    base = file.parent.parent
    return str(path.relative_to(base) if path.is_relative_to(base) else path)


def _keys(value: object) -> list[str]:
    return [*value] if isinstance(value, dict) else []


def _selected(root: DictConfig, key: str) -> Any:
    """The value under ``key``, resolved, with plain lists; None where it is mandatory and not set."""
    value = OmegaConf.select(root, key)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _mistyped(leaf: Leaf, value: object) -> str:
    wanted = type_name(leaf.hint)
    got = "null" if value is None else f"{value!r} ({type(value).__name__})"
    listed = f"; a list is written {leaf.key}=[{value}]" if "list" in wanted and isinstance(value, str | int) else ""
    return f"expected {wanted}, but got {got}{listed}"
