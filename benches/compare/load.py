#!/usr/bin/env python3
"""Loading a model: Distily against transformers, alternately, as a table.

    cargo build --release --workspace --examples
    load.py MODEL_DIR [PAIRS]        needs torch==2.15.0 and transformers==5.23.0

Each side loads the folder in a process of its own, runs one token, and says how long loading took (the
imports not counted) and how much memory the process held at most, in all and beyond what it held before.
The files are in the page cache: each side runs once before it counts.
"""
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def memory(figure):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(figure + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {figure}")


def transformers_side(folder, dtype):
    import torch
    from transformers import AutoModelForCausalLM

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    before = memory("VmRSS")
    start = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        logit = model(torch.tensor([[1]])).logits[0, 0, 0].item()
    print(json.dumps(dict(seconds=seconds, before=before, now=memory("VmRSS"), peak=memory("VmHWM"), logit=logit)))


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main(folder, pairs):
    print("| weights kept as | side | load, s | peak, MiB | peak beyond the start, MiB |\n|---|---|---|---|---|")
    for dtype in ["f32", "bf16"]:
        sides = {
            "Distily": [str(ROOT / "target/release/examples/load"), folder, dtype],
            "transformers": [sys.executable, __file__, "--side", folder, dtype],
        }
        results = {side: [] for side in sides}
        for pair in range(pairs + 1):
            for side, command in sides.items():
                result = run(command)
                if pair > 0:
                    results[side].append(result)
        medians = {}
        for side, all_results in results.items():
            median = lambda of: statistics.median(of(result) for result in all_results)
            medians[side] = (median(lambda r: r["seconds"]), median(lambda r: r["peak"] / 2**20),
                             median(lambda r: (r["peak"] - r["before"]) / 2**20))
            seconds, peak, beyond = medians[side]
            print(f"| {dtype} | {side} | {seconds:.3f} | {peak:.0f} | {beyond:.0f} |")
        ours, theirs = medians.values()
        ratios = [f"{a / b:.2f}" for a, b in zip(ours, theirs)]
        print(f"| {dtype} | ratio | {' | '.join(ratios)} |")


if __name__ == "__main__":
    if sys.argv[1] == "--side":
        transformers_side(*sys.argv[2:])
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)
