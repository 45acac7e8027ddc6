#!/usr/bin/env python3
"""Golden file for the output losses that are no pointwise divergence: values and gradients by torch's autograd, in f64.

    output_losses.py OUT.json        needs torch==2.15.0

Each is written here as its paper has it, with probabilities, and not as Distily computes it: Sinkhorn's plan is scaled
as a matrix, and autograd goes through its iterations.
"""
import json
import sys

import torch

TOKENS = 4


def uld(p, q, weights):
    width = max(p.shape[-1], q.shape[-1])
    ranked = [torch.nn.functional.pad(x.sort(-1, descending=True).values, (0, width - x.shape[-1])) for x in (p, q)]
    return (weights * (ranked[0] - ranked[1]).abs().sum(-1)).sum()


def top_k_kl(p, q, weights, k):
    top, ids = p.topk(k, -1)
    of_q = q.gather(-1, ids)
    kl = (top * (top / of_q).log()).sum(-1)
    if k < p.shape[-1]:
        rest, rest_q = 1 - top.sum(-1), 1 - of_q.sum(-1)
        kl = kl + rest * (rest / rest_q).log()
    return (weights * kl).sum()


def sinkhorn(p, q, weights, epsilon, iterations):
    counts = weights > 0
    p, q, share = p[counts], q[counts], weights[counts] / weights.sum()
    cost = (p[:, None] - q[None]).abs().sum(-1)
    plan = (-cost / epsilon).exp()
    for _ in range(iterations):
        plan = plan * (share / plan.sum(1))[:, None]
        plan = plan * (share / plan.sum(0))[None]
    return weights.sum() * (plan * cost).sum()


LOSSES = [
    (uld, {}, [12, 12]),
    (uld, {}, [12, 7]),
    (uld, {}, [7, 12]),
    (top_k_kl, dict(k=1), [12, 12]),
    (top_k_kl, dict(k=4), [12, 12]),
    (top_k_kl, dict(k=12), [12, 12]),
    (sinkhorn, dict(epsilon=0.1, iterations=1), [12, 12]),
    (sinkhorn, dict(epsilon=0.1, iterations=20), [12, 12]),
    (sinkhorn, dict(epsilon=1.0, iterations=3), [12, 12]),
]

torch.manual_seed(9)
golden = []
for loss, parameters, vocabularies in LOSSES:
    for temperature in [1.0, 2.5]:
        student, teacher = [(2 * torch.randn(TOKENS, v)).round(decimals=3).double() for v in vocabularies]
        student.requires_grad_()
        weights = torch.tensor([0.5, 0.0, 0.25, 0.125]).double()  # the second token does not count
        p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
        value = temperature**2 * loss(p, q, weights, **parameters)
        value.backward()
        golden.append(dict(loss=loss.__name__, **parameters, temperature=temperature, student=student.tolist(),
                           teacher=teacher.tolist(), weights=weights.tolist(), value=value.item(),
                           gradient=student.grad.tolist()))
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(golden, file)
    file.write("\n")
