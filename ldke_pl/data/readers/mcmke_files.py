"""The files of MC-MKE: which hold edits and which probes, and every edit with what the files beside it ask about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ldke_pl.data.readers.parse import Problem, Unreadable, load_json, load_lines
from ldke_pl.data.records import ProbeKind
from ldke_pl.errors import DataError


@dataclass(frozen=True)
class Scenario:
    """One of MC-MKE's three kinds of edit, and the keys in which its files say things.

    Args:
        name: "ie", "iro" or "sro".
        kind: kind of edit: "entity" changes what a picture shows, "attribute" what is true of it.
        index, prompt, question, target, old, subject: keys of an edit.
        relation: key of the relation that the edit changes; "" where it is what the picture shows.
        consistency: keys of the image, prompt and answer of a consistency probe.
        pictured: whether the edit has a picture.
    """

    name: str
    kind: str
    index: str
    prompt: str
    question: str
    target: str
    old: str
    subject: str
    relation: str
    consistency: tuple[str, str, str]
    pictured: bool


SCENARIOS = (
    Scenario(
        "ie", "entity", "ie_edit_input_idx", "ie_cloze", "ie_question", "new_e_ent", "e_ent", "e_ent", "",
        ("consistency_iro_image", "consistency_iro_input_cloze", "consistency_iro_output"), True,
    ),
    Scenario(
        "iro", "attribute", "iro_edit_input_idx", "iro_cloze", "iro_question", "new_o", "o", "s", "r",
        ("consistency_image", "consistency_sro_cloze", "new_o"), True,
    ),
    Scenario(
        "sro", "attribute", "sro_edit_input_idx", "cloze", "question", "new_o", "o", "s", "r",
        ("consistency_data_image", "consistency_data_irocloze", "consistency_new_o"), False,
    ),
)  # fmt: skip

_IMAGES = "images"
"""The folder at which the authors' absolute image paths are cut."""

_IGNORED = "ie_consistenct_ignore_idx.json"
"""Indices of the ie edits whose consistency question keeps its answer; the authors leave these questions out."""


@dataclass(frozen=True)
class ProbedEdits:
    """An edit file's rows, each with the keys of the rows of probes about it.

    Args:
        path: the edit file.
        scenario: what its edits are.
        rows: one per line; Unreadable where a line is no JSON.
        origins: per row, the file that a key is from, where that is not the edit file.
        problems: of lines in the files of probes.
    """

    path: Path
    scenario: Scenario
    rows: list[object]
    origins: list[dict[str, Path]]
    problems: list[Problem]

    def origin(self, row: int, key: str) -> Path:
        """The file that holds ``key`` ("locality_test_dict.7.image") of a row."""
        return self.origins[row].get(key.split(".")[0].split("[")[0], self.path)


def edit_files(path: Path) -> tuple[list[Path], set[ProbeKind]]:
    """The edit files that ``path`` means, and the kinds of probes that it restricts them to; none for all.

    Raises:
        DataError: a file cannot be read, or there is no edit file.
    """
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*.jsonl")) if scenario_of(_first(file))]
        if not found:
            raise DataError(f"{path} holds no edit file of MC-MKE.", "Give a folder such as edit_inputs/ie_edit.")
        return found, set()
    first = _first(path)
    if scenario_of(first):
        return [path], set()
    for scenario in SCENARIOS:
        beside = [file for file in _files(path.parent) if scenario_of(_first(file)) is scenario]
        if scenario.index in first and beside:
            return beside[:1], {_kind(first, scenario)}
    raise DataError(
        f"{path} holds no edits of MC-MKE, and no edit file for it lies beside it.",
        "Give an edit file, such as final_ie_edit_input.jsonl; files of probes are found beside it.",
    )


def scenario_of(row: object) -> Scenario | None:
    """The scenario whose edit ``row`` is; None for a row of probes, and for anything else."""
    if not isinstance(row, dict):
        return None
    return next((s for s in SCENARIOS if {s.index, s.prompt, "locality_test"} <= row.keys()), None)


def probed_edits(path: Path) -> ProbedEdits:
    """Load an edit file and the files of probes beside it."""
    rows = load_lines(path)
    scenario = next(s for s in map(scenario_of, rows) if s)
    probes, problems = _probe_rows(path, scenario)
    by_index = _by_index(rows, scenario)
    ignored = _ignored(path.parent) if scenario.name == "ie" else []
    merged: list[object] = []
    origins: list[dict[str, Path]] = []
    for row in rows:
        if not isinstance(row, dict):
            merged.append(row)
            origins.append({})
            continue
        index = row.get(scenario.index)
        asked = [(file, found[index]) for file, found in probes if isinstance(index, int) and index in found]
        values = {**row, **{key: value for _, more in asked for key, value in more.items()}}
        values["locality_test_dict"] = _locality(values, scenario, by_index)
        if index in ignored:
            values.pop(scenario.consistency[1], None)
        merged.append(_relative(values))
        origins.append({key: file for file, more in asked for key in more})
    return ProbedEdits(path, scenario, merged, origins, problems)


def _first(path: Path) -> Mapping[str, Any]:
    row = next((row for row in load_lines(path) if not isinstance(row, Unreadable)), None)
    return row if isinstance(row, dict) else {}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def _kind(row: Mapping[str, Any], scenario: Scenario) -> ProbeKind:
    """The kind of the probes in a row of probes."""
    kinds = {
        f"{scenario.name}_question_paraphrases": ProbeKind.TEXT_GENERALITY,
        "generality_images": ProbeKind.IMAGE_GENERALITY,
        "locality_test_dict": ProbeKind.IMAGE_LOCALITY if scenario.pictured else ProbeKind.TEXT_LOCALITY,
        scenario.consistency[1]: ProbeKind.PORTABILITY_1,
    }
    return next((kind for key, kind in kinds.items() if key in row), ProbeKind.RELIABILITY)


def _probe_rows(path: Path, scenario: Scenario) -> tuple[list[tuple[Path, dict[int, dict[str, Any]]]], list[Problem]]:
    """The rows of each file of probes by their edit's index, and the problems of its lines."""
    found, problems = [], []
    for file in _files(path.parent):
        first = _first(file)
        if file == path or scenario.index not in first or scenario_of(first):
            continue
        rows = load_lines(file)
        problems += [Problem(file, i, row.key, row.reason) for i, row in enumerate(rows) if isinstance(row, Unreadable)]
        found.append((file, _by_index(rows, scenario)))
    return found, problems


def _by_index(rows: Sequence[object], scenario: Scenario) -> dict[int, dict[str, Any]]:
    indexed = [(row.get(scenario.index), row) for row in rows if isinstance(row, dict)]
    return {index: row for index, row in indexed if isinstance(index, int)}


def _locality(
    values: Mapping[str, Any], scenario: Scenario, by_index: Mapping[int, Mapping[str, Any]]
) -> dict[str, object]:
    """What the locality probes of an edit ask, by the index of the edit that each is about.

    The file of locality probes says it; where there is none, the edits themselves, as far as they are in the file.
    """
    asked = values.get("locality_test_dict")
    indices = values.get("locality_test")
    entries = dict(asked) if isinstance(asked, dict) else {}
    for index in indices if isinstance(indices, list) and not entries else []:
        if isinstance(index, int) and index in by_index:
            entries[str(index)] = _question(by_index[index], scenario)
    about = {str(index): other for index, other in by_index.items()}
    return {key: _about(entry, about.get(key), scenario) for key, entry in entries.items()}


def _question(edit: Mapping[str, Any], scenario: Scenario) -> dict[str, object]:
    images = edit.get("images")
    image = images[0] if isinstance(images, list) and images else ""
    question = {f"{scenario.name}_question": edit.get(scenario.question), "orig_loc_ent": edit.get(scenario.old)}
    return {"image": image, **question}


def _about(entry: object, edit: Mapping[str, Any] | None, scenario: Scenario) -> object:
    """A locality probe with the entity and relation of the edit that it is about, where that is known."""
    if not isinstance(entry, dict) or edit is None:
        return entry
    relation = edit.get(scenario.relation) if scenario.relation else scenario.name
    return {**entry, "entity": edit.get(scenario.subject), "relation": relation}


def _ignored(folder: Path) -> list[object]:
    path = folder / _IGNORED
    if not path.is_file():
        return []
    indices = load_json(path)
    return indices if isinstance(indices, list) else []


def _relative(value: Any, key: str = "") -> Any:
    """``value`` with every absolute path under a key about images cut at the folder of images."""
    if isinstance(value, dict):
        return {name: _relative(inner, name) for name, inner in value.items()}
    if "image" not in key:
        return value
    if isinstance(value, list):
        return [_relative(item, key) for item in value]
    return _from_images(value) if isinstance(value, str) and value.startswith("/") else value


def _from_images(value: str) -> str:
    parts = PurePosixPath(value).parts
    places = [place for place, part in enumerate(parts) if part == _IMAGES]
    return str(PurePosixPath(*parts[places[-1] :])) if places else value
