"""Made-up data sets in every published format: annotation files in a set's own keys, and a picture at every path.

``path, root = write_published("mmke", folder)`` writes what ``data.format=mmke data.path=PATH data.root=ROOT`` reads.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TOWNS = ("Saltmere", "Gullby", "Port Ellery", "Mount Orrel", "Norwick", "Vell")
RIVERS = ("Wend", "Ister", "Loam", "Brack", "Tarn", "Ouse")
N_ROWS = len(TOWNS)
AUTHORS = "/home/somebody/MKE/images"
"""Where the authors of MC-MKE had their pictures."""

Row = dict[str, Any]


def write_published(format: str, folder: Path) -> tuple[Path, Path]:
    """Write a data set of ``N_ROWS`` rows, each of which is readable.

    Returns:
        what to give as ``data.path``, and the image root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _WRITERS[format](folder), folder / "images_root"


def draw(root: Path, name: str) -> str:
    """Draw the picture ``name`` under ``root``, unlike all others; returns ``name``."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(name.encode()))
    Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((32, 32), Image.Resampling.NEAREST).save(path)
    return name


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def shared_row(root: Path, number: int, name: str = "m.0made{}/google_{}.jpg") -> Row:
    """A row with the eleven keys of MMEdit and VLKEB."""
    town, other = TOWNS[number], (number + 1) % N_ROWS
    return {
        "src": f"Which town is shown in picture {number}?",
        "rephrase": f"Can you name the town in picture {number}?",
        "pred": TOWNS[other].replace(" ", "_"),
        "alt": town,
        "image": draw(root, name.format(number, 1)),
        "image_rephrase": draw(root, name.format(number, 2)),
        "loc": f"nq question: who wrote volume {number} of the glass orchard",
        "loc_ans": "Nela Varro",
        "m_loc": draw(root, name.format(9, other)),
        "m_loc_q": "Who is the painter in the image?",
        "m_loc_a": "Orso Lind",
    }


def _mmedit(folder: Path) -> Path:
    name = "val2014/COCO_val2014_90000000000{}_{}.jpg"
    rows = [shared_row(folder / "images_root", i, name) for i in range(N_ROWS)]
    return write_json(folder / "vqa_eval.json", rows)


def _vlkeb(folder: Path) -> Path:
    rows = [shared_row(folder / "images_root", i) for i in range(N_ROWS)]
    for i, row in enumerate(rows):
        port = {"port_edit_q": f"Which river meets the sea at {TOWNS[i]}?", "port_edit_a": RIVERS[i]}
        row["port_new"] = [{**port, "port_q": "Which river meets the sea in the picture?", "port_a": RIVERS[i]}]
    return write_json(folder / "eval_edit_onehop.json", rows)


def hop(kind: str, question: str, answer: str) -> Row:
    return {"port_type": kind, "Q&A": {"Question": question, "Answer": answer}}


def _mmke(folder: Path) -> Path:
    types = ("entity_level", "visual_knowledge", "user_specific")
    return write_json(folder / "eval.json", [mmke_row(folder / "images_root", i, types[i % 3]) for i in range(N_ROWS)])


def mmke_row(root: Path, i: int, kind: str) -> Row:
    """A row of one knowledge type; both spellings of the numbered answers occur."""
    row = shared_row(root, i, "entity/Town{}+{}.jpg") | {"knowledge_type": kind, "type_self": "town"}
    row["port_new"] = [hop("1-hop", "Which river meets the sea here?", RIVERS[i])]
    if kind != "entity_level":
        row["one_hop_img"] = draw(root, f"hop/{i}.jpg")
    if kind == "visual_knowledge":
        asked = {"rel": f"Where is sign {i} made?", "rel_ans": "Harbours", "m_rel": "What does it mean?"}
        return row | asked | {"m_rel_ans": "Anchor", "image_rephrase_question": "What does the sign mean?"}
    row |= {"rel_1": f"Who founded town {i}?", "rel_ans_1": "Ada", "m_rel_1": "Who founded it?", "m_rel_ans_1": "Ada"}
    return row | {"rel_2": f"When was town {i} founded?", "rel_2_ans": 1873, "m_rel_2": "When?", "m_rel_2_ans": 1873}


def _fgvedit(folder: Path) -> Path:
    rows: list[Row] = [
        {
            "src": f"What flies in picture {i}?", "rephrase": f"Name what flies in picture {i}.", "alt": TOWNS[i],
            "image": draw(folder / "images_root", f"{i}.jpg"), "loc": f"who wrote volume {i}", "loc_ans": "Nela Varro",
            "fg_gen_q": f"Is {TOWNS[i]} on the left?", "fg_gen_a": "yes", "fg_loc_q": "What swims?", "fg_loc_a": "gull",
        }
        for i in range(N_ROWS)
    ]  # fmt: skip
    return write_json(folder / "eval.json", rows)


def comprehendedit_row(root: Path, i: int, source: str = "GQA") -> Row:
    return {
        "image": draw(root, f"{source}/images/{i}.jpg"),
        "question": f"How many boats are in picture {i}?",
        "rephrase": f"What number of boats does picture {i} show?",
        "answer": str(i + 2),
        "source": source,
        "Category": ("object counting", "object recognition")[i % 2],
        "pid": i,
        "locality_prompt": f"when does volume {i} come out",
        "locality_ground_truth": "1873",
        "multimodal_locality_image": draw(root, f"val2014/{i}.jpg"),
        "multimodal_locality_prompt": "What sport is it?",
        "multimodal_locality_ground_truth": "riding",
        **{f"{side}{key}": [0, 1] for side in ("", "ori_rt_") for key in ("img_topk", "txt_topk", "img_last_topk")},
    }


def _comprehendedit(folder: Path) -> Path:
    rows = [comprehendedit_row(folder / "images_root", i, ("GQA", "VSR")[i % 2]) for i in range(N_ROWS)]
    return write_json(folder / "ComprehendEdit_test.json", rows)


def _mcmke(folder: Path) -> Path:
    inputs = folder / "edit_inputs"
    write_ie(inputs / "ie_edit", folder / "images_root")
    return inputs


def write_ie(folder: Path, root: Path) -> Path:
    """The ie edits of MC-MKE and their files of probes; returns the edit file."""
    index, pictures = "ie_edit_input_idx", {}
    for i in range(N_ROWS):
        pictures[i] = [f"{AUTHORS}/{Path(draw(root, f'images/e{i}_u{n}.jpg')).name}" for n in range(3)]
    question = "Which town is shown in picture {}?"
    new = [{"new_e_ent": TOWNS[(i + 1) % N_ROWS], "new_e_ent_alias": ["the town"]} for i in range(N_ROWS)]
    edits = [
        {
            "relation": "river", "e_ent": TOWNS[i], index: i, **new[i], "ie_question": question.format(i),
            "ie_cloze": f"The town in picture {i} is", "locality_test": [(i + 2) % N_ROWS, (i + 3) % N_ROWS],
            "images": pictures[i],
            "ie_question_paraphrases": {
                "ie_question": question.format(i), "ie_ques_paraphrases": [f"Name town {i}, way {n}." for n in range(7)]
            },
        }
        for i in range(N_ROWS)
    ]  # fmt: skip
    asked = [[question.format(i), *(f"Name town {i}, way {n}." for n in range(4))] for i in range(N_ROWS)]
    located = [
        {
            str(k): {"image": pictures[k][0], "ie_question": question.format(k), "orig_loc_ent": TOWNS[k]}
            for k in edits[i]["locality_test"]
        }
        for i in range(N_ROWS)
    ]
    probes: dict[str, list[Row]] = {
        "edit_reliability_test": [{"image": edit["images"][0], "input_cloze": edit["ie_cloze"]} for edit in edits],
        "test_text_generality": [{"ie_question_paraphrases": asked[i]} for i in range(N_ROWS)],
        "test_image_generality": [{"generality_images": pictures[i][1:]} for i in range(N_ROWS)],
        "locality_test": [{"locality_test_dict": located[i]} for i in range(N_ROWS)],
        "test_consistency": [
            {
                "consistency_iro_image": pictures[i][0], "consistency_iro_input_cloze": "Its river is",
                "consistency_iro_output": RIVERS[i], "consistency_iro_output_alias": [],
            }
            for i in range(N_ROWS)
        ],
    }  # fmt: skip
    for name, rows in probes.items():
        write_lines(folder / f"final_ie_{name}.jsonl", [{index: i, **row} for i, row in enumerate(rows)])
    write_json(folder / "ie_consistenct_ignore_idx.json", [1])
    return write_lines(folder / "final_ie_edit_input.jsonl", edits)


def write_iro(folder: Path, root: Path) -> Path:
    """An edit file of MC-MKE about what is known of a picture's subject, and a consistency probe asked in text."""
    edits = [
        {
            "s": TOWNS[i], "r": "river", "o": RIVERS[i], "new_o": RIVERS[(i + 1) % N_ROWS], "iro_edit_input_idx": i,
            "images": [f"{AUTHORS}/{Path(draw(root, f'images/e{i}_u{n}.jpg')).name}" for n in range(2)],
            "iro_question": f"Which river is at town {i}?", "iro_cloze": f"The river of town {i} is",
            "locality_test": [(i + 1) % N_ROWS], "new_o_alias": [],
        }
        for i in range(N_ROWS)
    ]  # fmt: skip
    asked = {"consistency_image": "", "consistency_sro_edit_idx": 0}
    probes = [
        {
            "iro_edit_input_idx": i,
            **asked,
            "consistency_sro_cloze": f"The river of {TOWNS[i]} is",
            "new_o": row["new_o"],
        }
        for i, row in enumerate(edits)
    ]
    write_lines(folder / "final_iro_consistency.jsonl", probes)
    return write_lines(folder / "final_iro_edits_inputs.jsonl", edits)


def write_sro(folder: Path) -> Path:
    """An edit file of MC-MKE about texts alone."""
    edits = [
        {
            "s": TOWNS[i], "r": "river", "o": RIVERS[i], "new_o": RIVERS[(i + 1) % N_ROWS], "sro_edit_input_idx": i,
            "question": f"What is the river of {TOWNS[i]}?", "cloze": f"The river of {TOWNS[i]} is", "new_o_alias": [],
            "para_question": f"\n\nName the river of {TOWNS[i]}.", "locality_test": [(i + 1) % N_ROWS],
        }
        for i in range(N_ROWS)
    ]  # fmt: skip
    return write_lines(folder / "final_new_sro_edits_input.jsonl", edits)


def _okedit(folder: Path) -> Path:
    root, annotations, questions = folder / "images_root", [], []
    for i in range(N_ROWS):
        number = 1000 + i
        draw(root, f"val2014/COCO_val2014_{i:012d}.jpg")
        draw(root, f"locality_images/{number}/0.png")
        for n in range(2):
            draw(root, f"rephrased_images/{number}/{n}.png")
        annotations.append({
            "question_id": number, "image_id": i, "question_type": "other", "answer_type": "other",
            "answers": [{"answer": TOWNS[i - 1], "answer_id": 1}], "counterfact_answer": TOWNS[i],
            "counterfact_type": ("text based", "image-text based")[i % 2], "image_object": "a town",
            "locality_answer": "a cup",
        })  # fmt: skip
        asked = [f"Which town is number {i}?", f"Town {i}: what is its name?", ""]
        questions.append({
            "question_id": number, "image_id": i, "question": f"Name town {i}.", "rephrased_questions": asked,
        })  # fmt: skip
    write_json(folder / "OpenEnded_mscoco_val2014_questions.json", {"info": {}, "questions": questions[::-1]})
    return write_json(folder / "mscoco_val2014_annotations.json", {"info": {}, "annotations": annotations})


def _cckeb(folder: Path) -> Path:
    rows = [shared_row(folder / "images_root", i) for i in range(N_ROWS)]
    for i, row in enumerate(rows):
        row["port_new"] = [
            hop("comp", "Which river meets the sea in the picture?", "the old one"),
            hop("1-hop", "Is it a town?", "yes"),
        ]
        row["textual_edit"] = {
            "src": f"Which river meets the sea at {TOWNS[i]}?", "rephrase": f"Name the river at {TOWNS[i]}.",
            "pred": [RIVERS[i - 1]], "alt": [RIVERS[i], "water"],
            "loc": f"what is tower {i} made of", "loc_ans": "glass",
        }  # fmt: skip
    return write_json(folder / "CCKEB_eval.json", rows)


def plain_rows(root: Path) -> list[Row]:
    rows: list[Row] = []
    for i in range(N_ROWS):
        pictures = {"image": draw(root, f"{i}.jpg"), "rephrase_images": [draw(root, f"{i}_again.jpg")]} if i % 2 else {}
        rows.append({
            "image": None, **pictures, "prompt": f"Which town is number {i}?", "target": TOWNS[i],
            "rephrases": [f"Name town {i}.", f"Town {i}?"], "group": ("text", "picture")[i % 2], "id": f"edit-{i}",
            "must_not_change": [f"Which street is in town {i}?", {"image": None, "prompt": f"Who built town {i}?"}],
            "probes": [{"kind": "text_locality", "image": None, "prompt": f"Who wrote book {i}?", "expected": None}],
        })  # fmt: skip
    return rows


def _plain(folder: Path) -> Path:
    return write_json(folder / "edits.json", plain_rows(folder / "images_root"))


def write_csv(path: Path, rows: list[Row]) -> Path:
    """Write rows of a table; lists are JSON."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    return path


def _atlas(folder: Path) -> Path:
    rows = [shared_row(folder / "images_root", i) | {"group": "entity", "entity": TOWNS[i]} for i in range(N_ROWS)]
    return write_json(folder / "edit-eval.json", rows)


_WRITERS: dict[str, Callable[[Path], Path]] = {
    "mmedit": _mmedit,
    "vlkeb": _vlkeb,
    "mmke": _mmke,
    "fgvedit": _fgvedit,
    "comprehendedit": _comprehendedit,
    "mcmke": _mcmke,
    "okedit": _okedit,
    "cckeb": _cckeb,
    "plain": _plain,
    "atlas": _atlas,
}

FORMATS = tuple(_WRITERS)
