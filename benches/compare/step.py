#!/usr/bin/env python3
"""Steps of a distillation, or readings of its teacher, in torch and transformers: the other side of
`examples/step`, with the same arguments and results. Needs torch==2.15.0 and transformers==5.23.0.

    step.py write SMOLLM2_DIR FOLDER              random GPT-2s, and students, that both sides read
    step.py train logits|hidden|relation TEACHER STUDENT STEPS
    step.py read ROWS TEACHER READINGS

`run.py` calls it.
"""
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from machine import THREADS
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

LENGTH = 128
ROWS = 4
HIDDEN = [(3, 7), (7, 15), (11, 23), (14, 29)]
HIDDEN_WEIGHT = 1e-4
RELATION = (14, 29)
RELATION_HEADS = 12


def memory(figure):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(figure + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {figure}")


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def batch(rows, step, vocabulary):
    ids = [(7919 * at + 104_729 * step) % vocabulary for at in range(rows * LENGTH)]
    return torch.tensor(ids).view(rows, LENGTH)


def write(smollm2, folder):
    """A student has every second block of its teacher."""
    torch.manual_seed(0)
    folder = Path(folder)
    gpt2 = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    load(smollm2).save_pretrained(folder / "smollm2")
    for name in ["gpt2", "smollm2"]:
        model = load(folder / name)
        body = model.base_model
        attribute = "h" if name == "gpt2" else "layers"
        blocks = getattr(body, attribute)[1::2]
        setattr(body, attribute, blocks)
        model.config.num_hidden_layers = len(blocks)
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = model.config.layer_types[1::2]
        model.save_pretrained(folder / f"{name}-student")


def relation(heads):
    """The rows of softmax(A Aᵀ / √d), of tokens and those before them."""
    rows, length, width = heads.shape
    heads = heads.view(rows, length, RELATION_HEADS, width // RELATION_HEADS).transpose(1, 2)
    scores = heads @ heads.transpose(2, 3) / heads.shape[-1] ** 0.5
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    return F.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)


class Heads:
    """Keeps what a layer's projections say."""

    def __init__(self, model, layer):
        attention = model.base_model.layers[layer].self_attn
        self.kept = {}
        for name in ["q_proj", "k_proj", "v_proj"]:
            getattr(attention, name).register_forward_hook(lambda _, __, out, name=name: self.kept.update({name: out}))


def objective_of(name, student, teacher):
    """The mean over the predictions of each row's tokens but the last."""
    heads = (Heads(student, RELATION[0]), Heads(teacher, RELATION[1])) if name == "relation" else None

    def objective(ours, theirs):
        log_q = F.log_softmax(ours.logits[:, :-1].flatten(0, 1), dim=-1)
        log_p = F.log_softmax(theirs.logits[:, :-1].flatten(0, 1), dim=-1)
        loss = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        if name != "logits":
            for s, t in HIDDEN:
                loss = loss + HIDDEN_WEIGHT * F.mse_loss(student.hidden[s][:, :-1], teacher.hidden[t][:, :-1])
        if heads:
            for projection in heads[0].kept:
                r_s, r_t = (relation(side.kept[projection]) for side in heads)
                squares = (r_s - r_t).square().sum(-1).mean(1)[:, :-1]
                loss = loss + squares.mean()
        return loss

    if name != "logits":
        for side, layers in zip((student, teacher), zip(*HIDDEN)):
            keep_hidden(side, layers)
    return objective


def keep_hidden(model, layers):
    """transformers says the last layer's state only after the norm, so a hook takes it."""
    model.hidden = {}
    for layer in layers:
        keep = lambda _, __, out, layer=layer: model.hidden.update({layer: out[0] if isinstance(out, tuple) else out})
        model.base_model.layers[layer].register_forward_hook(keep)


def train(name, teacher, student, steps):
    before = memory("VmRSS")
    teacher, student = load(teacher).eval(), load(student).train()
    teacher.requires_grad_(False)
    parameters = teacher.num_parameters() + 4 * student.num_parameters()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
    objective = objective_of(name, student, teacher)
    forget_peak()
    losses, times = [], []
    for step in range(int(steps)):
        ids = batch(ROWS, step, student.config.vocab_size)
        marks = [time.perf_counter()]
        with torch.no_grad():
            theirs = teacher(ids, use_cache=False)
        marks.append(time.perf_counter())
        loss = objective(student(ids, use_cache=False), theirs)
        del theirs
        losses.append(loss.item())
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        del loss
        marks.append(time.perf_counter())
        spans = dict(zip(["teacher", "student", "backward", "optimizer"], [b - a for a, b in zip(marks, marks[1:])]))
        times.append(spans | dict(step=marks[-1] - marks[0]))
    return dict(losses=losses, times=times, tokens=ROWS * LENGTH, before=before, kept=4 * parameters,
                peak=memory("VmHWM"))


def read(rows, teacher, readings):
    rows = int(rows)
    before = memory("VmRSS")
    model = load(teacher).eval()
    forget_peak()
    losses, times = [], []
    for reading in range(int(readings)):
        ids = batch(rows, reading, model.config.vocab_size)
        start = time.perf_counter()
        with torch.inference_mode():
            logits = model(ids, use_cache=False).logits
        times.append(dict(step=time.perf_counter() - start))
        losses.append(logits.square().mean().item())
        del logits
    return dict(losses=losses, times=times, tokens=rows * LENGTH, before=before, kept=4 * model.num_parameters(),
                peak=memory("VmHWM"))


def peak_gflops():
    a = torch.rand(1024, 1024)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best / 1e9


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    command = {"write": write, "train": train, "read": read}[sys.argv[1]]
    results = command(*sys.argv[2:])
    if results:
        versions = [torch.__version__, transformers.__version__]
        print(json.dumps(results | dict(peak_gflops=peak_gflops(), versions=versions)))
