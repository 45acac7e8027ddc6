#!/usr/bin/env python3
"""What transformers says of a real model, for real_model.rs.

    real_model.py MODEL_DIR TEXT_FILE OUT.safetensors     needs ../../../distily-models/tests/golden/requirements.txt

OUT gets the ids of the first 4096 tokens of the text, the logits of the first 64 and, as `nll`, the summed
negative log-likelihood of the ids in rows of 1024 (the first token of a row is not predicted).
"""
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

folder, text, out = sys.argv[1:]
tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
with open(text, encoding="utf-8") as file:
    ids = tokenizer(file.read()[:40000], add_special_tokens=False)["input_ids"][:4096]
ids = torch.tensor(ids).view(4, 1024)
nll = torch.zeros(1, dtype=torch.float64)
with torch.no_grad():
    for row in ids:
        logits = model(row[None]).logits[0, :-1].double()
        nll += torch.nn.functional.cross_entropy(logits, row[1:], reduction="sum")
    first = model(ids[:1, :64]).logits
save_file({"ids": ids.to(torch.int32), "logits": first.contiguous(), "nll": nll.float()}, out)
print("perplexity", (nll / (4 * 1023)).exp().item())
