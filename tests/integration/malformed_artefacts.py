"""Malformed artefacts, shards and run folders: whole ones, damaged where they lie."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from throwing import Draw, Thrown

from ldke_pl.edits.files import CONFIG, DELTAS, ROUTER, read_config, write_files

NEEDED = ("edit_id", "prompt", "target", "sites", "supersedes", "key", "loss")
FIELDS = (*NEEDED, "steps", "context", "blind", "disabled", "seed")
LOSABLE = ("version", "base", "router", "edits", "sha256", "name", "revision", "dtype", "top_layer")


def of_another_type(value: object, draw: Draw) -> Any:
    """JSON of another type than ``value`` has."""
    others: list[Any] = [None, True, 7, 1.5, "x", [1], {"a": 1}, [None], [[]], [{}]]
    kinds = (int, float) if isinstance(value, int | float) and not isinstance(value, bool) else (type(value),)
    if isinstance(value, list):
        others = [o for o in others if not isinstance(o, list)] + [[1], [{}], [None]]
        return draw.choice(
            [o for o in others if not (isinstance(o, list) and value and isinstance(o[0], type(value[0])))]
        )
    return draw.choice(
        [o for o in others if not isinstance(o, kinds) or (isinstance(o, bool) and not isinstance(value, bool))]
    )


def bad_artefact_config(draw: Draw) -> Thrown:
    """An artefact with a configuration that is cut off, not JSON, lacks something, or has it in another type."""
    kind, seed = draw.choice(["cut", "bytes", "lacks", "type", "type", "edit", "edit", "edit"]), draw.random()

    def write(folder: Path) -> None:
        chance, path = Draw(seed), folder / CONFIG
        content = path.read_bytes()
        place = chance.randrange(1, len(content) - 2)
        config = json.loads(content)
        match kind:
            case "cut":
                content = content[:place]
            case "bytes":
                content = content[:place] + bytes([chance.randrange(0x80, 0xC0)]) + content[place:]
            case "lacks":
                place_of = chance.choice([config, config, config["base"], config["edits"][0]])
                lost = [k for k in place_of if k in (*LOSABLE, *NEEDED)]
                del place_of[chance.choice(lost)]
                content = json.dumps(config).encode()
            case "type":
                place_of, key = chance.choice([
                    (config, "version"), (config, "base"), (config, "router"), (config, "edits"), (config, "sha256"),
                    (config, "rolled_back"), (config["base"], "name"), (config["base"], "dtype"),
                    (config["base"], "top_layer"), (config["sha256"], DELTAS), (config["sha256"], ROUTER),
                ])  # fmt: skip
                place_of[key] = of_another_type(place_of[key], chance)
                content = json.dumps(config).encode()
            case _:
                entry, key = chance.choice(config["edits"]), chance.choice(FIELDS)
                entry[key] = "x" if key == "seed" else of_another_type(entry[key], chance)
                content = json.dumps(config).encode()
        path.write_bytes(content)

    return Thrown(f"artefact {kind} {seed:.6f}", write)


def bad_artefact_tensors(draw: Draw) -> Thrown:
    """An artefact with a file of tensors lost, cut off or altered, or with other tensors and their checksum."""
    kind = draw.choice(["lost", "cut", "byte", "other", "names", "shapes", "part"])
    name, seed = draw.choice([DELTAS, ROUTER]), draw.random()
    if kind in ("names", "shapes", "part"):
        name = DELTAS

    def write(folder: Path) -> None:
        chance, path = Draw(seed), folder / name
        content = path.read_bytes()
        place = chance.randrange(1, len(content) - 1)
        tensors = load_file(path)
        first = next(iter(tensors))
        match kind:
            case "lost":
                path.unlink()
            case "cut":
                path.write_bytes(content[:place])
            case "byte":
                path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
            case "other":
                save_file({"x": torch.zeros(1)}, path)
            case "names":
                rewritten(folder, {f"{chance.randrange(99)}{first}|": tensors.pop(first), **tensors})
            case "shapes":
                rewritten(folder, tensors | {first: torch.zeros(chance.choice([(), (3,), (2, 2, 2)]))})
            case _:
                rewritten(folder, {n: t for n, t in tensors.items() if not n.endswith("|0")})

    return Thrown(f"tensors {kind} of {name} {seed:.6f}", write)


def rewritten(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other deltas, with a checksum that is theirs."""
    write_files(folder, read_config(folder), {DELTAS: tensors})


def bad_shards(draw: Draw) -> Thrown:
    """A folder of shards that is damaged."""
    kind, seed = (
        draw.choice(["cut index", "index type", "lost shard", "cut shard", "longer shard", "no index"]),
        draw.random(),
    )

    def write(folder: Path) -> None:
        chance, index = Draw(seed), folder / "index.json"
        shard = chance.choice(sorted(folder.glob("*.tar")))
        content = index.read_bytes()
        match kind:
            case "cut index":
                index.write_bytes(content[: chance.randrange(len(content) - 2)])
            case "index type":
                values = json.loads(content)
                key = chance.choice([*values])
                values[key] = of_another_type(values[key], chance)
                index.write_text(json.dumps(values))
            case "lost shard":
                shard.unlink()
            case "cut shard":
                shard.write_bytes(shard.read_bytes()[: chance.randrange(shard.stat().st_size)])
            case "longer shard":
                shard.write_bytes(shard.read_bytes() + b"more")
            case _:
                index.unlink()

    return Thrown(f"shards {kind} {seed:.6f}", write)


def bad_run(draw: Draw) -> Thrown:
    """A run folder that tables cannot be made of."""
    metrics = draw.choice(["", "{", "[]", "3", "null", "{}", '{"methods": 3}', '{"methods": {"ldke": 3}}', "\0"])
    rows = draw.choice(["", "method\n", "method,seed\nldke,x\n", "a,b\n1,2\n", "method,seed\nldke,1,2,3\n", "\0"])
    config = draw.choice(["", "a: [", "router: 3", "[]", "{}"])

    def write(folder: Path) -> None:
        for name, text in (("metrics.json", metrics), ("results.csv", rows), ("config.yaml", config)):
            (folder / name).write_text(text)

    return Thrown(f"run {metrics!r} {rows!r} {config!r}", write)
