#!/usr/bin/env python3
"""Distillation steps and a teacher's readings: Distily against torch and transformers, alternately.

    cargo build --release --workspace --examples
    run.py SMOLLM2_DIR [--pairs 10] [--only NAME ..] [--python PYTHON] > docs/results/step.md

Each run is a process of its own, and no two run at once. Both sides read the same weights and tokens; a
run whose losses differ by more than 1e-3 ends it all. The first step of a run is not counted. PYTHON has
what `step.py` needs.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import THREADS, example, processor

HERE = Path(__file__).resolve().parent
STEPS = 6
LENGTH = 128
PHASES = ["teacher", "student", "backward", "optimizer"]
CASES = {
    "GPT-2, KL": ["train", "logits", "gpt2", "gpt2-student"],
    "SmolLM2, KL + hidden states": ["train", "hidden", "smollm2", "smollm2-student"],
    "SmolLM2, KL + hidden states + relations": ["train", "relation", "smollm2", "smollm2-student"],
    "GPT-2 reads 1 row": ["read", "1", "gpt2"],
    "GPT-2 reads 8 rows": ["read", "8", "gpt2"],
    "SmolLM2 reads 1 row": ["read", "1", "smollm2"],
    "SmolLM2 reads 8 rows": ["read", "8", "smollm2"],
}
HEAD = """# A distillation step, and reading

```sh
cargo build --release --workspace --examples
python benches/compare/run.py SmolLM2-135M-Instruct --pairs {pairs} > docs/results/step.md
```

{processor}, f32, against torch {torch} and transformers {transformers}, both on {threads} threads: medians of {pairs}
alternate runs of {steps} steps, each run a process of its own, its first step not counted. The losses of both sides agreed to {gap:.0e}
in every step.

A student has every second block of its teacher: 6 of GPT-2's 12 (random weights), 15 of SmolLM2-135M's 30. A step is 4 rows of 128
tokens: forward KL on the logits; squared errors of 4 hidden states; relations of the last layer's queries, keys and values. AdamW (torch's
fused one), and the gradient clipped to a norm of 1.

Times are in seconds. Distily's teacher ends before its head: in the phase of the student the logits of both are computed, a chunk of
tokens at a time, and the gradient of the student's head right with them; torch does that going backward. Beyond is the peak of memory
less what the process held before it loaded anything, the weights of both models, the student's gradients and their moments. The share
is that of {peak:.0f} GFLOP/s, the most that a product of 1024 x 1024 matrices reached in any run; counted are the products of a step,
forward and back.

| what | side | step | teacher | student | backward | optimizer | tokens/s | peak, MiB | beyond, MiB | share |
|---|---|---|---|---|---|---|---|---|---|---|"""


def products(folder):
    """Floating-point operations of a forward pass over one token."""
    config = json.loads((folder / "config.json").read_text())
    with open(folder / "model.safetensors", "rb") as file:
        tensors = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    outside = ["wte", "wpe", "embed_tokens", "lm_head"]
    shapes = [
        tensor["shape"]
        for name, tensor in tensors.items()
        if name != "__metadata__" and not any(part in name for part in outside)
    ]
    weights = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    width = config.get("n_embd") or config["hidden_size"]
    layers = config.get("n_layer") or config["num_hidden_layers"]
    # A token sees half of the row on average, for two products.
    return 2 * (weights + config["vocab_size"] * width) + 2 * LENGTH * width * layers


def operations(case, folder):
    """Of one step."""
    if case[0] == "read":
        return int(case[1]) * LENGTH * products(folder / case[2])
    return 4 * LENGTH * (products(folder / case[2]) + 3 * products(folder / case[3]))


def run(command, case, folder):
    paths = [str(folder / part) if (folder / part).exists() else part for part in case]
    threads = os.environ | {"RAYON_NUM_THREADS": str(THREADS)}
    output = subprocess.run([*command, *paths, str(STEPS)], check=True, capture_output=True, text=True, env=threads).stdout
    result = json.loads(output.splitlines()[-1])
    times = result["times"][1:]
    result["times"] = {name: statistics.median(time[name] for time in times) for name in times[0]}
    return result


def gap(ours, theirs):
    """The largest difference of two runs' losses, relative to their size."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(ours["losses"], theirs["losses"], strict=True))


def row(name, side, figures):
    cells = ["" if figure is None else format(figure, form) for figure, form in figures]
    return f"| {name} | {side} | {' | '.join(cells)} |"


def main(smollm2, pairs, only, python):
    torch_side = [python, str(HERE / "step.py")]
    sides = {"Distily": [example("step")], "torch": torch_side}
    names = only or list(CASES)
    results = {(name, side): [] for name in names for side in sides}
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([*torch_side, "write", smollm2, str(folder)], check=True, capture_output=True)
        counts = {name: operations(CASES[name], folder) for name in names}
        for name in names:
            for _ in range(pairs):
                pair = {side: run(command, CASES[name], folder) for side, command in sides.items()}
                largest = max(largest, gap(*pair.values()))
                if largest > 1e-3:
                    raise SystemExit(f"{name}: the losses differ: {[result['losses'] for result in pair.values()]}")
                for side, result in pair.items():
                    results[name, side].append(result)
                print(name, {side: result["times"]["step"] for side, result in pair.items()}, file=sys.stderr)

    peak = max(result["peak_gflops"] for runs in results.values() for result in runs)
    torch, transformers = results[names[0], "torch"][0]["versions"]
    print(HEAD.format(pairs=pairs, steps=STEPS, gap=largest, peak=peak, torch=torch, transformers=transformers,
                      processor=processor(), threads=THREADS))
    for name in names:
        medians = []
        for side in sides:
            median = lambda of: statistics.median(of(result) for result in results[name, side])
            times = [
                median(lambda r: r["times"][phase]) if CASES[name][0] == "train" else None for phase in PHASES
            ]
            step = median(lambda r: r["times"]["step"])
            memory = [median(lambda r: r["peak"] / 2**20),
                      median(lambda r: (r["peak"] - r["before"] - r["kept"]) / 2**20)]
            speed = median(lambda r: r["tokens"]) / step
            medians.append([step, *times, speed, *memory, counts[name] / step / 1e9 / peak])
            forms = [".3f"] * 5 + [".0f"] * 3 + [".0%"]
            print(row(name, side, zip(medians[-1], forms)))
        ratios = [None if a is None else a / b for a, b in zip(*medians)]
        print(row(name, "ratio", [(ratio, ".2f") for ratio in ratios]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("smollm2")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=list(CASES))
    parser.add_argument("--python", default=sys.executable)
    main(**vars(parser.parse_args()))
