"""Make and evaluate edits: ``python edit.py [key=value ...]``; ``--help`` lists every key."""

import sys

from ldke_pl.config import EditConfig
from ldke_pl.runtime import main, run_edit

if __name__ == "__main__":
    sys.exit(main(EditConfig, "edit.yaml", run_edit))
