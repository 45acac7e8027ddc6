"""Reads the shard of a top-k recording of four ids a token: `python recording.py FOLDER`."""
import sys

import numpy
from safetensors.numpy import load_file

t = load_file(sys.argv[1] + "/shard-00000.safetensors")
ids = numpy.split(t["ids"], numpy.cumsum(t["lengths"])[:-1])
p = numpy.exp(t["log_probabilities"].astype("f4")).reshape(-1, 4).sum(1) + t["tail"].astype("f4")
assert len(ids) == t["row_tokens"].sum() and all(len(i) == 4 for i in ids) and abs(p - 1).max() < 5e-3
assert t["hidden.3"].shape == (len(ids), 3) and t["row_keys"].shape[1] == 32
