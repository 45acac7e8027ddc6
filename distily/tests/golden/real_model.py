#!/usr/bin/env python3
"""What transformers says of a real model, for real_model.rs.

    real_model.py MODEL_DIR TEXT_FILE OUT.safetensors     needs ../../../distily-models/tests/golden/requirements.txt

OUT gets the ids of the first 4096 tokens of the text, the logits of the first 64 and, as `nll`, the summed
negative log-likelihood of the ids in rows of 1024 (the first token of a row is not predicted); and for five
prompts of different lengths, of which two are questions in the model's chat template, the prompt's ids and the
64 tokens that follow it greedily. The folder's tokenizer_config.json must have a chat template.
"""
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived a clockmaker who",
    "def fibonacci(n):\n    ",
]
QUESTIONS = ["Why is the sky blue?", "Name three animals that lay eggs, and say one thing about each of them."]

folder, text, out = sys.argv[1:]
tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
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
golden = {}
model.generation_config.eos_token_id = None  # 64 tokens, whatever they are
texts = PROMPTS + [
    tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    for question in QUESTIONS
]
for i, prompt in enumerate(texts):
    prompt_ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    everything = torch.ones_like(prompt_ids)  # a guessed mask would hide <|im_end|>, which pads, too
    new = model.generate(prompt_ids, attention_mask=everything, max_new_tokens=64, do_sample=False)
    assert new.shape[1] == prompt_ids.shape[1] + 64
    golden[f"prompt.{i}"] = prompt_ids[0].to(torch.int32)
    golden[f"greedy.{i}"] = new[0, prompt_ids.shape[1]:].to(torch.int32)
save_file({"ids": ids.to(torch.int32), "logits": first.contiguous(), "nll": nll.float()} | golden, out)
print("perplexity", (nll / (4 * 1023)).exp().item())
