"""How fast is it? Two things timed side by side in one run, and their ratio."""
