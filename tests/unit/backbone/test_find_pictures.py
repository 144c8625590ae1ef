"""Which tokens and vectors belong to which picture, for each way in which processors write pictures."""

from types import SimpleNamespace

import pytest
import torch

from ldke_pl.backbone.pictures import Marks, Pictures, by_row, fills_rows, find_pictures, shares
from ldke_pl.errors import ModelError

P, LEAD, TRAIL, INNER, LAST, TEXT = 9, 1, 2, 3, 4, 50
CONFIG = SimpleNamespace()


@pytest.mark.parametrize(
    ("marks", "tokens", "spans"),
    [
        (Marks(P), [TEXT, P, P, TEXT, P, TEXT], [(1, 3), (4, 5)]),
        (Marks(P), [TEXT, TEXT], []),
        (Marks(P, lead=(LEAD,), trail=(TRAIL,)), [LEAD, P, P, TRAIL, LEAD, P, TRAIL, TEXT], [(0, 4), (4, 7)]),
        # A mark that is cut off, or stands elsewhere, is text.
        (Marks(P, lead=(LEAD, LEAD)), [LEAD, P, P, TEXT, LEAD], [(1, 3)]),
        (Marks(P, within=frozenset({INNER}), trail=(TRAIL,)), [P, INNER, P, TRAIL, P, INNER, TEXT], [(0, 4), (4, 5)]),
        # Tiles: each picture ends with the stretch after its last mark.
        (
            Marks(P, within=frozenset({INNER}), last=LAST),
            [TEXT, INNER, P, INNER, P, INNER, LAST, P, INNER, INNER, LAST, P, INNER, TEXT],
            [(1, 9), (9, 13)],
        ),
    ],
)
def test_spans_hold_a_picture_and_its_marks(marks: Marks, tokens: list[int], spans: list[tuple[int, int]]) -> None:
    assert marks.spans(tokens) == spans


def test_pictures_side_by_side_unmarked_are_shared_out_by_their_pixels() -> None:
    ids = torch.tensor([[P, P, P, P, TEXT], [TEXT, TEXT, TEXT, P, P]])
    found = find_pictures(ids, {"pixel_values": torch.zeros(3, 3, 4, 4)}, Marks(P), CONFIG)
    assert found.rows.tolist() == [0, 0, 1]
    assert found.spans == [(0, 2), (2, 4), (3, 5)]
    assert found.sizes.tolist() == [2, 2, 2]
    with pytest.raises(ModelError, match="side by side"):
        find_pictures(ids, {"pixel_values": torch.zeros(4, 3, 4, 4)}, Marks(P), CONFIG)


def test_crops_are_counted_where_vectors_are_dropped_later() -> None:
    config = SimpleNamespace(image_grid_pinpoints=[[8, 16], [16, 16]], vision_config=SimpleNamespace(image_size=8))
    batch = {"pixel_values": torch.zeros(2, 5, 3, 8, 8), "image_sizes": torch.tensor([[8, 16], [16, 16]])}
    ids = torch.tensor([[P, P, P, TEXT, P]])
    assert find_pictures(ids, batch, Marks(P), config).sizes.tolist() == [3, 5]
    together = batch | {"batch_num_images": torch.tensor([2])}
    assert find_pictures(ids, together, Marks(P), config).sizes.tolist() == [1, 1]


def test_slots_of_cross_attention_fill_rows_up() -> None:
    ids = torch.tensor([[P, TEXT, P], [TEXT, P, TEXT], [TEXT, TEXT, TEXT]])
    batch = {"pixel_values": torch.zeros(3, 2, 1, 3, 4, 4), "cross_attention_mask": torch.zeros(3, 3, 2, 1)}
    found = find_pictures(ids, batch, Marks(P), CONFIG)
    assert found.rows.tolist() == [0, 0, 1, -1, -1, -1]
    assert found.spans[:3] == [(0, 1), (2, 3), (1, 2)]
    assert found.numbered(torch.tensor([7, 8, 9])).tolist() == [7, 7, 8, -1, -1, -1]


def test_no_pixels_no_pictures() -> None:
    assert len(find_pictures(torch.tensor([[P, TEXT]]), {}, Marks(P), CONFIG)) == 0


def test_vectors_are_split_by_size() -> None:
    pictures = Pictures(torch.tensor([0, 1]), [(0, 1), (0, 2)], torch.tensor([1, 2]))
    states = torch.arange(12.0).reshape(1, 6, 2)
    first, second = pictures.vectors(states)
    assert torch.equal(first, states[0, :2])
    assert torch.equal(second, states[0, 2:])
    assert shares(torch.tensor([1, 2]), 9) == [3, 6]
    with pytest.raises(ModelError, match="no multiple of the 3"):
        shares(torch.tensor([1, 2]), 8)


def test_rows_without_a_picture_get_an_empty_slot_where_the_model_wants_one() -> None:
    pixels, mask = torch.ones(1, 1, 2, 3, 4, 4), torch.ones(1, 1, 2)
    filled = fills_rows({"pixel_values": pixels, "aspect_ratio_mask": mask}, [1], 3)
    assert filled["pixel_values"].flatten(1).sum(1).tolist() == [0, pixels.numel(), 0]
    assert filled["aspect_ratio_mask"].tolist() == [[[1, 0]], [[1, 1]], [[1, 0]]]
    flat = {"pixel_values": torch.ones(1, 3, 4, 4)}
    assert fills_rows(flat, [1], 3) == flat
    assert by_row(torch.zeros(2, 3, 3, 4, 4), {}) and not by_row(torch.zeros(2, 3, 3, 4, 4), {"image_sizes": 0})
