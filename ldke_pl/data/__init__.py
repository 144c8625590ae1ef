"""Cases and pictures: the typed records, the readers of annotation files, the image loader."""

from ldke_pl.data.images import content_digest, image_key, load_image
from ldke_pl.data.leakage import Leakage, Overlap, clean_evaluation, clean_training, find_leakage
from ldke_pl.data.readers import (
    READERS,
    ParsedFile,
    Problem,
    Reader,
    case_images,
    find_annotations,
    parse_cases,
    read_cases,
)
from ldke_pl.data.records import (
    AVERAGED_KINDS,
    EditCase,
    EditRequest,
    ImageSource,
    Probe,
    ProbeKind,
    Question,
    scored_together,
)
from ldke_pl.data.stored import StoredImage

__all__ = [
    "AVERAGED_KINDS",
    "READERS",
    "EditCase",
    "EditRequest",
    "ImageSource",
    "Leakage",
    "Overlap",
    "ParsedFile",
    "Probe",
    "ProbeKind",
    "Problem",
    "Question",
    "Reader",
    "StoredImage",
    "case_images",
    "clean_evaluation",
    "clean_training",
    "content_digest",
    "find_annotations",
    "find_leakage",
    "image_key",
    "load_image",
    "parse_cases",
    "read_cases",
    "scored_together",
]
