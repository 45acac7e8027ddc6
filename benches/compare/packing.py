#!/usr/bin/env python3
"""Best-fit packing: Distily against TRL, as a table.

    cargo build --release --workspace --examples
    packing.py TRL/trl/data_utils.py LENGTHS...     needs numpy==2.4.6 and pyarrow==26.0.1

TRL's own source is run: its segment tree, and of `_pack_bfd` the part from the lengths to the bins, after
documents longer than a row were cut (its strategy `bfd_split`). What it then does with the tokens is not in the
time of either side. LENGTHS are files of u32 (`lengths.bin` of a token cache); without any, a million lengths
are drawn from a log-normal distribution.
"""
import ast
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROOT = Path(__file__).resolve().parents[2]


def trl(source):
    """`_SegmentTree` and the binning of `_pack_bfd`, as a function of (lengths, seq_length)."""
    text = Path(source).read_text()
    nodes = {node.name: node for node in ast.parse(text).body if hasattr(node, "name")}
    lines = text.splitlines()
    of = lambda name: lines[nodes[name].lineno - 1 : nodes[name].end_lineno]
    body = of("_pack_bfd")
    begin = next(i for i, line in enumerate(body) if "lengths = pc.make_struct(" in line)
    end = next(i for i, line in enumerate(body) if "examples = pc.take(" in line)
    code = of("_SegmentTree") + ["def pack(lengths, ids, seq_length):"] + body[begin:end] + ["    return bins"]
    names = dict(pc=pc, defaultdict=defaultdict, deque=deque)
    exec("\n".join(code), names)
    return names["pack"]


def cut(lengths, row):
    lengths = lengths[lengths > 0]
    pieces = np.full(int(np.ceil(lengths / row).sum()), row)
    pieces[np.cumsum(np.ceil(lengths / row).astype(int)) - 1] = (lengths - 1) % row + 1
    return pieces


def main(source, files):
    pack = trl(source)
    with tempfile.TemporaryDirectory() as folder:
        if not files:
            files = [str(Path(folder) / "log-normal")]
            lengths = np.random.default_rng(1).lognormal(5.5, 1.2, 1_000_000).astype("<u4") + 1
            lengths.tofile(files[0])
        print("| documents | row | side | rows | filled | seconds |\n|---|---|---|---|---|---|")
        for file in files:
            lengths = np.fromfile(file, "<u4").astype(np.int64)
            for row in [512, 2048, 8192]:
                pieces, seconds, ours = pa.array(cut(lengths, row)), [], []
                for _ in range(3):
                    start = time.perf_counter()
                    bins = pack(pieces, np.arange(len(pieces)), row)
                    seconds.append(time.perf_counter() - start)
                    command = [str(ROOT / "target/release/examples/packing"), file, str(row)]
                    ours.append(json.loads(subprocess.check_output(command)))
                theirs = (len(bins), statistics.median(seconds))
                ours = (ours[0]["rows"], statistics.median(one["seconds"] for one in ours))
                for side, (rows, took) in [("Distily", ours), ("TRL", theirs)]:
                    filled = lengths.sum() / (rows * row)
                    print(f"| {len(lengths)} | {row} | {side} | {rows} | {100 * filled:.3f} % | {took:.4f} |")
                print(f"| {len(lengths)} | {row} | ratio | {ours[0] / theirs[0]:.4f} | | 1/{theirs[1] / ours[1]:.0f} |")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
