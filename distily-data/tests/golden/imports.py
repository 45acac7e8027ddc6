"""Writes the parquet files that tests/imports.rs reads: python imports.py FOLDER (needs pyarrow).

They are laid out by hand, by what DistillKit and axolotl say of their formats. What was meant stands in
tests/imports.rs.
"""

import struct
import sys
from pathlib import Path

import pyarrow
from pyarrow import parquet

folder = Path(sys.argv[1])


def bits(values, width):
    """Integers of so many bits, the highest first, filled up to whole bytes."""
    text = "".join(format(value, f"0{width}b") for value in values)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


# Of 50 ids, 6 bits each, four a token: -0.5, -1.5, -2.25, -3.75 of the first. Kept are the first value and the
# differences: two as they are (-0.5, -1.0), then the curve a + b * sqrt(t) at 0 and 1, which is -1, -1.25 here, and
# what it misses, 0.25 and -0.25, as 1 and -1 of 0.25 in 3 bits, whose zero is 4. The second token's are -1.0, -2.0,
# then -3 and -4 without anything missed.
def logprobs(exact, curve, scale, residuals):
    kept = struct.pack("<2e", *exact) + struct.pack("<2f", *curve) + struct.pack("<e", scale)
    return list(kept) + bits([4 + residual for residual in residuals], 3)


distill_kit = folder / "distill_kit"
distill_kit.mkdir(exist_ok=True)
(distill_kit / "compression_config.yaml").write_text(
    """\
d: 50
delta_encoding: true
error_diffusion: false
exact_dtype: float16
exact_k: 2
k: 4
normalize_t: false
polynomial_terms:
- 0
- sqrt
residual_bins:
- element_bits: 3
  num_elements: 2
  scale_dtype: float16
term_dtype: float32
"""
)
nested = pyarrow.list_(pyarrow.list_(pyarrow.uint8()))
schema = pyarrow.schema(
    [
        ("input_ids", pyarrow.list_(pyarrow.uint64())),
        ("compressed_logprobs", nested),
        ("bytepacked_indices", nested),
    ]
)
row = {
    "input_ids": [7, 49, 3],
    "compressed_logprobs": [
        logprobs([-0.5, -1.0], [-1.0, -0.25], 0.25, [1, -1]),
        logprobs([-1.0, -1.0], [-1.0, 0.0], 0.25, [0, 0]),
    ],
    "bytepacked_indices": [bits([49, 0, 33, 8], 6), bits([3, 1, 2, 4], 6)],
}
parquet.write_table(pyarrow.Table.from_pylist([row], schema), distill_kit / "data_0.parquet")

# Two samples and padding, packed: without their last tokens, of which nothing is said, and numbered in the mask.
logs, ids = row["compressed_logprobs"], row["bytepacked_indices"]
row = {
    "input_ids": [7, 49, 3, 5, 0],
    "attention_mask": [1, 1, 2, 2, 0],
    "compressed_logprobs": [logs[0], logs[1], logs[1], logs[0], logs[0]],
    "bytepacked_indices": [ids[0], ids[1], ids[1], ids[0], ids[0]],
}
schema = schema.append(pyarrow.field("attention_mask", pyarrow.list_(pyarrow.int64())))
parquet.write_table(pyarrow.Table.from_pylist([row], schema), distill_kit / "data_1.parquet")

# What is predicted at each token, for a trainer that does not shift; -inf, and whatever the mask says no to, fills
# up. And as axolotl's own strategy writes it: what was said of a token is where the token and its label are.
infinity = float("inf")
row = {
    "input_ids": [7, 8, 9, 10],
    "labels": [-100, -100, 9, 10],
    "target_logprobs": [[-infinity] * 2, [-0.25, -2.0], [-0.5, -1e9], [-1e9] * 2],
    "target_token_ids": [[0, 1], [9, 4], [10, 0], [0, 0]],
    "target_mask": [[0, 0], [1, 1], [1, 0], [0, 0]],
}
schema = pyarrow.schema(
    [
        ("input_ids", pyarrow.list_(pyarrow.int32())),
        ("labels", pyarrow.list_(pyarrow.int64())),
        ("target_logprobs", pyarrow.list_(pyarrow.list_(pyarrow.float32()))),
        ("target_token_ids", pyarrow.list_(pyarrow.list_(pyarrow.int64()))),
        ("target_mask", pyarrow.list_(pyarrow.list_(pyarrow.int64()))),
    ]
)
own = dict(row)
for column in ["target_logprobs", "target_token_ids", "target_mask"]:
    own[column] = [row[column][-1], *row[column][:-1]]
parquet.write_table(pyarrow.Table.from_pylist([row, own], schema), folder / "axolotl.parquet")
