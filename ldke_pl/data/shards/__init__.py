"""Shards: any cases as WebDataset tar files that need nothing else, and their index.

``write`` makes them, ``read`` gives their cases with the pictures left on disk, ``stream`` gives batches over ranks and
workers. Import from these files: only ``read`` does without torch and webdataset.
"""
