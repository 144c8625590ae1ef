"""The commands of ``python -m ldke_pl.edits``: look at a saved set of edits, change it, join it, fold one, share it."""
