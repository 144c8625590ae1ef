"""The unedited model: loading, where it can be written (sites), hooks, and how questions become its inputs."""

from ldke_pl.backbone.load import Backbone, load_backbone
from ldke_pl.backbone.prompts import Prompts
from ldke_pl.backbone.sites import CONNECTOR, Site, find_sites

__all__ = ["CONNECTOR", "Backbone", "Prompts", "Site", "find_sites", "load_backbone"]
