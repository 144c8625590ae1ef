"""Atlas: a small made-up world of countries with emblems, and the test bed built on it.

``world`` holds the facts, ``wording`` the questions, ``render`` the pictures, ``cases`` the edits and probes in the
VLKEB/MMEdit keys; ``tokenizer``, ``corpus`` and ``pretrain`` make the small MLLM that knows this world. Nothing that
edits, localizes or routes imports this package.
"""
