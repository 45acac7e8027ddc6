#!/usr/bin/env python3
"""Opens a folder that Distily saved with transformers and compares the logits.

    opens.py FOLDER        needs requirements.txt, beside this file

FOLDER holds config.json, model.safetensors and expected.safetensors (`ids` [batch, seq] and
`logits`); prints the largest difference, and fails if it is above 1e-4.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
expected = load_file(folder / "expected.safetensors")
model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
with torch.no_grad():
    logits = model.eval()(expected["ids"].long()).logits
difference = (logits - expected["logits"]).abs().max().item()
print(f"largest difference {difference:.2e}")
sys.exit(difference > 1e-4)
