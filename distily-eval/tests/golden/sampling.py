#!/usr/bin/env python3
"""Golden file for the sampler: next-token distributions by transformers' logits processors.

    sampling.py OUT.json        needs torch==2.15.0 and transformers==5.23.0
"""
import json
import sys

import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper,
)

CASES = [
    dict(temperature=1.0),
    dict(temperature=0.6, top_k=7),
    dict(temperature=1.3, top_p=0.8),
    dict(temperature=0.9, top_k=20, top_p=0.55),
    dict(temperature=1.0, repetition_penalty=1.4),
    dict(temperature=0.7, top_k=12, top_p=0.9, repetition_penalty=1.2),
]

torch.manual_seed(5)
golden = []
for case in CASES:
    logits = (3 * torch.randn(1, 40)).round(decimals=4)
    before = torch.randint(0, 40, (1, 8))
    processors = LogitsProcessorList()
    if "repetition_penalty" in case:
        processors.append(RepetitionPenaltyLogitsProcessor(case["repetition_penalty"]))
    processors.append(TemperatureLogitsWarper(case["temperature"]))
    if "top_k" in case:
        processors.append(TopKLogitsWarper(case["top_k"]))
    if "top_p" in case:
        processors.append(TopPLogitsWarper(case["top_p"]))
    probabilities = processors(before, logits.clone()).softmax(-1)
    golden.append(dict(config=case, logits=logits[0].tolist(), before=before[0].tolist(),
                       probabilities=probabilities[0].tolist()))
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(golden, file)
    file.write("\n")
