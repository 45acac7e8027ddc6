#!/usr/bin/env python3
"""Text to tokens on the disk: Distily's cache against `datasets.map` with the same tokenizer.

    cargo build --release --workspace --examples
    tokens.py TEXT MODEL_DIR [--pairs 5] [--python PYTHON]

Documents are the lines of TEXT. The sides run alternately, each a process of its own; what counts is the time from the
texts in memory to tokens on the disk. PYTHON has datasets==5.2.0 and transformers==5.23.0.
"""
import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import example


def datasets_side(text, model, processes):
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoTokenizer

    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model)
    # As from a file: what is in memory alone is hashed by its content.
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_dict({"text": Path(text).read_text().splitlines()}).save_to_disk(f"{folder}/text")
        dataset = Dataset.load_from_disk(f"{folder}/text")
        start = time.perf_counter()
        dataset.map(
            lambda rows: {"input_ids": tokenizer(rows["text"], add_special_tokens=False)["input_ids"]},
            batched=True,
            remove_columns=["text"],
            num_proc=processes,
            cache_file_name=f"{folder}/tokens.arrow",
        )
        print(time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    run = lambda command: subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ours = lambda: run([example("tokens"), arguments.text, f"{arguments.model}/tokenizer.json", "1"])
    theirs = lambda processes: run([arguments.python, __file__, "--side", arguments.text, arguments.model, processes])
    times = {"Distily's cache": [], "datasets.map": [], "datasets.map, 2 processes": []}
    for _ in range(arguments.pairs):
        times["Distily's cache"].append(float(re.search(r"to the cache ([\d.]+) s", ours())[1]))
        times["datasets.map"].append(float(theirs("1").split()[-1]))
        times["datasets.map, 2 processes"].append(float(theirs("2").split()[-1]))
    least = statistics.median(times["Distily's cache"])
    print(f"| | seconds, median of {arguments.pairs} | ratio |\n|---|---|---|")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {middle:.2f} | {middle / least:.1f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        _, _, text, model, processes = sys.argv
        datasets_side(text, model, None if processes == "1" else int(processes))
    else:
        main()
