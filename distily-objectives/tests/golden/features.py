#!/usr/bin/env python3
"""Writes features.json: the losses on features and their gradients, by torch's autograd in f64.

    features.py            needs torch 2.15 (requirements.txt, beside this file)

Each loss is written here from its definition, on the tokens that count alone, with torch's own
functions where there are some. Inputs are f32, so that both sides read the same numbers.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(20)


def random(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).double()


# Losses on [tokens, width], of tokens that all count: a mean over them.


def hidden_mse(s, t):
    return F.mse_loss(s, t)


def cosine(s, t):
    return (1 - F.cosine_similarity(s, t, dim=1)).mean()


def logsum(s, t, alpha, floor):
    norm = torch.linalg.vector_norm(s - t, ord=alpha, dim=1)
    return torch.log1p((norm / floor) ** alpha).mean()


def cka(s, t):
    s, t = s - s.mean(0), t - t.mean(0)
    return 1 - (s.T @ t).norm() ** 2 / ((s.T @ s).norm() * (t.T @ t).norm())


def info_nce(s, t, tau):
    scores = F.normalize(s, dim=1) @ F.normalize(t, dim=1).T / tau
    return F.cross_entropy(scores, torch.arange(len(s)))


def pearson(a, b):
    """Of each row."""
    return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1)


def dist(s, t, within, between):
    return within * (1 - pearson(s, t)).mean() + between * (1 - pearson(s.T, t.T)).mean()


# Losses on [batch, heads, seq, _]: a mean over heads and over the query rows that count.


def visible(segments):
    """Whether query t sees s, [batch, seq, seq]."""
    same = segments[:, :, None] == segments[:, None, :]
    real = segments[:, :, None] != 0
    causal = torch.ones(segments.shape[1], segments.shape[1]).tril().bool()
    return (same & real & causal) | torch.eye(segments.shape[1]).bool()


def relations(x, segments, relation_heads, normalized_tau=None):
    batch, heads, seq, width = x.shape
    whole = torch.cat([x[:, head] for head in range(heads)], dim=-1)
    a = torch.stack(whole.chunk(relation_heads, dim=-1), dim=1)
    if normalized_tau is None:
        scores = a @ a.transpose(2, 3) / math.sqrt(a.shape[-1])
    else:
        a = F.normalize(a, dim=-1)
        scores = a @ a.transpose(2, 3) / normalized_tau
    return scores.masked_fill(~visible(segments)[:, None], -torch.inf).softmax(-1)


def rows_that_count(x, counts):
    """[rows, heads, seq] of [batch, heads, seq, seq]."""
    return x.transpose(1, 2).flatten(0, 1)[counts]


def squared(s, t, counts):
    s, t = rows_that_count(s, counts), rows_that_count(t, counts)
    return ((s - t) ** 2).sum(-1).mean()


def kl(s, t, counts):
    s, t = rows_that_count(s, counts), rows_that_count(t, counts)
    looked_at = t > 0
    ratio = torch.where(looked_at, t, 1).log() - torch.where(looked_at, s, 1).log()
    return (t * ratio).sum(-1).mean()


def relation_mse(s, t, segments, counts, relation_heads):
    r = [relations(x, segments, relation_heads) for x in (s, t)]
    return squared(*r, counts)


def relation_kl(s, t, segments, counts, relation_heads):
    r = [relations(x, segments, relation_heads) for x in (s, t)]
    return kl(*r, counts)


def relation_normalized_kl(s, t, segments, counts, relation_heads, tau):
    r = [relations(x, segments, relation_heads, tau) for x in (s, t)]
    return kl(*r, counts)


def maps_of(x, other, segments):
    """The attention maps of scores; their mean over the heads, where the other side's differ."""
    maps = x.masked_fill(~visible(segments)[:, None], -torch.inf).softmax(-1)
    return maps if x.shape[1] == other.shape[1] else maps.mean(1, keepdim=True)


def attention_mse(s, t, segments, counts):
    return squared(maps_of(s, t, segments), maps_of(t, s, segments), counts)


def attention_kl(s, t, segments, counts):
    return kl(maps_of(s, t, segments), maps_of(t, s, segments), counts)


def numbers(x):
    return [float(f"{number:.9g}") for number in x.detach().flatten().tolist()]


def tensor(x):
    return {"shape": list(x.shape), "values": numbers(x)}


inputs, cases = [], []


def place(x):
    """Where `x` is in the inputs; it is added where it is not."""
    for at, known in enumerate(inputs):
        if known is x:
            return at
    inputs.append(x)
    return len(inputs) - 1


def add(loss, student, t, counts, segments=None, **parameters):
    s = student.clone().requires_grad_()
    counts = torch.tensor(counts).bool()
    if segments is None:
        value = loss(s[counts], t[counts], **parameters)
    else:
        value = loss(s, t, torch.tensor(segments), counts, **parameters)
    value.backward()
    cases.append(
        {
            "loss": loss.__name__,
            "student": place(student),
            "teacher": place(t),
            "counts": counts.tolist(),
            "segments": segments,
            "parameters": parameters,
            "value": value.item(),
            "gradient": numbers(s.grad),
        }
    )


COUNTS = [1, 1, 0, 1, 1, 1, 0, 1, 1]
for scale in (1.0, 30.0):
    s, t = random(9, 6, scale=scale), random(9, 6, scale=scale)
    near = (t + random(9, 6, scale=0.05 * scale)).float().double()
    for student in (s, near):
        add(hidden_mse, student, t, COUNTS)
        add(cosine, student, t, COUNTS)
        add(logsum, student, t, COUNTS, alpha=4.0, floor=1.0)
        add(logsum, student, t, COUNTS, alpha=5.0, floor=0.01)
        add(cka, student, t, COUNTS)
        add(info_nce, student, t, COUNTS, tau=0.2)
        add(dist, student, t, COUNTS, within=1.0, between=2.0)
# Fewer tokens than columns, and other widths.
add(cka, random(7, 9), random(7, 12), COUNTS[:7])
add(cka, random(9, 3), random(9, 5), COUNTS)

# Two documents and padding; padding on the left; and tokens that do not count in between.
SEGMENTS = [[1, 1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 1, 1, 1]]
COUNTS = [1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0]
# Heads of both sides; grouped-query heads; relation heads that are neither's.
for of_student, of_teacher, relation_heads in [((2, 6), (2, 6), 2), ((3, 4), (2, 9), 3), ((1, 8), (4, 4), 4)]:
    shapes = [(2, heads, 7, width) for heads, width in (of_student, of_teacher)]
    s, t = (random(*shape, scale=1.5) for shape in shapes)
    for loss in (relation_mse, relation_kl):
        add(loss, s, t, COUNTS, SEGMENTS, relation_heads=relation_heads)
    add(relation_normalized_kl, s, t, COUNTS, SEGMENTS, relation_heads=relation_heads, tau=0.25)
for of_student, of_teacher in [(2, 2), (2, 3)]:
    s, t = (random(2, heads, 7, 7, scale=1.5) for heads in (of_student, of_teacher))
    for loss in (attention_mse, attention_kl):
        add(loss, s, t, COUNTS, SEGMENTS)

file = Path(__file__).with_suffix(".json")
lines = lambda things: ",\n".join(json.dumps(thing, separators=(",", ":")) for thing in things)
file.write_text(f'{{"inputs":[\n{lines(map(tensor, inputs))}\n],"cases":[\n{lines(cases)}\n]}}\n')
print(f"{len(cases)} cases, {file.stat().st_size} bytes in {file}")
