"""What is thrown at the commands: malformed things, drawn by seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Draw = random.Random
SEED = 20


@dataclass(frozen=True)
class Thrown:
    """One malformed thing.

    Args:
        name: what is wrong with it.
        write: puts it into an empty folder.
        culprit: what the message has to name; "" for nothing in particular.
    """

    name: str
    write: Callable[[Path], object]
    culprit: str = ""


def several(count: int, draw: Callable[[Draw], Thrown], target: str) -> list[Thrown]:
    """So many draws for one target: the same ones every time, and no two of one name where that can be had."""
    chance = Draw(f"{SEED} {target} {draw.__name__}")
    found: dict[str, Thrown] = {}
    for number in range(50 * count):
        thrown = draw(chance)
        found.setdefault(thrown.name if number < 40 * count else f"{thrown.name} {number}", thrown)
        if len(found) == count:
            break
    return [*found.values()]
