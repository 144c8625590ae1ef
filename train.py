"""Fit the Disentanglement Classifier: ``python train.py [key=value ...]``; ``--help`` lists every key."""

import sys

from ldke_pl.config import TrainConfig
from ldke_pl.runtime import main, run_train

if __name__ == "__main__":
    sys.exit(main(TrainConfig, "train.yaml", run_train))
