"""Sweeps without an account: a W&B sweep file, run offline."""
