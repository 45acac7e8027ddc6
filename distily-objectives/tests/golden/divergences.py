#!/usr/bin/env python3
"""Golden file for the losses on the output distribution: values and gradients by torch's autograd, in f64.

    divergences.py OUT.json        needs torch==2.15.0

Each formula is written here as its paper has it, with probabilities, and not as Distily computes it. The
adaptive KL's weights are constants to its gradient.
"""
import json
import sys

import torch

V, TOKENS = 12, 3


def kl(a, b):
    return (a * (a.log() - b.log())).sum(-1)


def jsd(p, q, beta):
    m = beta * p + (1 - beta) * q
    return beta * kl(p, m) + (1 - beta) * kl(q, m)


def adaptive(p, q, head_mass):
    with torch.no_grad():
        sorted_p, order = p.sort(-1, descending=True)
        in_head = torch.zeros_like(p).scatter(-1, order, (sorted_p.cumsum(-1) - sorted_p < head_mass).double())
        apart = (p - q).abs()
        head, tail = (apart * in_head).sum(-1), (apart * (1 - in_head)).sum(-1)
    return (head * kl(p, q) + tail * kl(q, p)) / (head + tail)


def alpha_beta(p, q, a, b):
    whole = p**a * q**b - a / (a + b) * p ** (a + b) - b / (a + b) * q ** (a + b)
    return -whole.sum(-1) / (a * b)


LOSSES = [
    ("forward_kl", {}, lambda p, q: kl(p, q)),
    ("reverse_kl", {}, lambda p, q: kl(q, p)),
    ("soft_cross_entropy", {}, lambda p, q: -(p * q.log()).sum(-1)),
    ("mixed_kl", dict(reverse_share=0.3), lambda p, q: 0.3 * kl(q, p) + 0.7 * kl(p, q)),
    ("jensen_shannon", dict(beta=0.5), lambda p, q: jsd(p, q, 0.5)),
    ("jensen_shannon", dict(beta=0.1), lambda p, q: jsd(p, q, 0.1)),
    ("jensen_shannon", dict(beta=0.0), lambda p, q: kl(p, q)),
    ("jensen_shannon", dict(beta=1.0), lambda p, q: kl(q, p)),
    ("skew_kl", dict(alpha=0.1), lambda p, q: kl(p, 0.1 * p + 0.9 * q)),
    ("skew_reverse_kl", dict(alpha=0.1), lambda p, q: kl(q, 0.9 * p + 0.1 * q)),
    ("adaptive_kl", dict(head_mass=0.5), lambda p, q: adaptive(p, q, 0.5)),
    ("total_variation", {}, lambda p, q: 0.5 * (p - q).abs().sum(-1)),
    ("alpha_beta", dict(alpha=0.2, beta=0.7), lambda p, q: alpha_beta(p, q, 0.2, 0.7)),
    ("alpha_beta", dict(alpha=1.5, beta=-0.4), lambda p, q: alpha_beta(p, q, 1.5, -0.4)),
    ("probabilities_mse", {}, lambda p, q: ((p - q) ** 2).mean(-1)),
]

torch.manual_seed(8)
golden = []
for name, parameters, loss in LOSSES:
    for temperature in [1.0, 2.5]:
        student = (2 * torch.randn(TOKENS, V)).round(decimals=3).double().requires_grad_()
        teacher = (2 * torch.randn(TOKENS, V)).round(decimals=3).double()
        weights = torch.tensor([0.5, 0.0, 0.5]).double()  # the second token does not count
        p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
        value = (weights * temperature**2 * loss(p, q)).sum()
        value.backward()
        golden.append(dict(loss={name: parameters} if parameters else name, temperature=temperature,
                           student=student.tolist(), teacher=teacher.tolist(), weights=weights.tolist(),
                           value=value.item(), gradient=student.grad.tolist()))
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(golden, file)
    file.write("\n")
