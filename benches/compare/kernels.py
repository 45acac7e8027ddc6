#!/usr/bin/env python3
"""Each kernel against its composition of burn operations and against torch's operator, as a table.

    cargo build --release --workspace --examples
    kernels.py [--pairs 10] [--python PYTHON] > docs/results/kernels.md

A process of `examples/kernels` and one of torch run alternately. Both sides compute with the same numbers; a
run whose results differ by more than 1e-3 ends it all. PYTHON has torch==2.15.0.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from machine import THREADS, example, processor

ROUNDS = 5
SECONDS = 0.3
EPSILON = 1e-5
VOCABULARY = 50_257
CHUNK = 62
HEAD = """# Kernels against their compositions and against torch

```sh
cargo build --release --workspace --examples
python benches/compare/kernels.py --pairs {pairs} > docs/results/kernels.md
```

{processor}, f32, against torch {torch}, both on {threads} threads: medians of {pairs} alternate runs, each a process of its own, of
the medians of as many calls as take 0.3 s. The composition is the same mathematics in burn 0.22.1 operations on its CPU backend,
in the same process as ours, a call of one after a call of the other. All three computed with the same numbers, and agreed to {gap:.0e}.

Forward is without a graph. Forward and back is a call with a graph and a pass back through it, to the gradients of all inputs. Shapes of
attention are batch x tokens x query heads/key heads x width of a head, those of rotary batch x tokens x heads x width.

torch's side is `scaled_dot_product_attention`, `rms_norm`, `layer_norm`, `silu` and a product, `gelu`, `@` and `linear`, transformers' rotary formula, `kl_div`
of two `log_softmax`, `cross_entropy`, `topk`, the fused AdamW, and `vector_norm`; it has no Lion. Ours of the likeliest ids reads probabilities
of f64, the others of f32.

| kernel | shape | pass | ours, ms | composition, ms | torch, ms | ours/composition | ours/torch |
|---|---|---|---|---|---|---|---|"""


def torch_side():
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(THREADS)
    cases = []

    def numbers(shape, seed, scale):
        at = torch.arange(torch.Size(shape).numel(), dtype=torch.int64)
        number = ((7919 * at + 104_729 * seed) % 65_521).double() / 32_760.5 - 1.0
        return (scale * number.float()).view(shape)

    def squares(tensors):
        return [tensor.detach().double().square().sum().item() for tensor in tensors]

    def measure(kernel, shape, form, run):
        results = squares(run())
        times = []
        start = time.perf_counter()
        while len(times) < ROUNDS or time.perf_counter() - start < SECONDS:
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        cases.append({"kernel": kernel, "shape": shape, "pass": form, "torch": 1e3 * statistics.median(times),
                      "results": results})

    def both_passes(kernel, shape, inputs, run, upstream):
        def forward():
            with torch.no_grad():
                return [run(*inputs)]

        leaves = [tensor.clone().requires_grad_() for tensor in inputs]

        def forward_and_back():
            output = run(*leaves)
            return [*torch.autograd.grad(output, leaves, upstream), output]

        measure(kernel, shape, "forward", forward)
        measure(kernel, shape, "forward, back", forward_and_back)

    for batch, tokens, heads, kv_heads in [(4, 128, 12, 12), (4, 128, 9, 3), (1, 1024, 9, 3)]:
        query, key = (batch, tokens, heads, 64), (batch, tokens, kv_heads, 64)

        def attention(query, key, value):
            query, key, value = (x.transpose(1, 2) for x in (query, key, value))
            output = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=heads != kv_heads)
            return output.transpose(1, 2).contiguous()

        both_passes("causal_attention", f"{batch}x{tokens}x{heads}/{kv_heads}x64",
                    [numbers(query, 1, 1.0), numbers(key, 2, 1.0), numbers(key, 3, 1.0)], attention,
                    numbers(query, 4, 1.0))

    rows = lambda width, seed, scale: numbers((512, width), seed, scale)
    both_passes("rms_norm", "512x576", [rows(576, 1, 1.0), numbers((576,), 2, 1.0)],
                lambda x, weight: F.rms_norm(x, (576,), weight, EPSILON), rows(576, 9, 1.0))
    both_passes("layer_norm", "512x768", [rows(768, 1, 1.0), numbers((768,), 2, 1.0), numbers((768,), 3, 1.0)],
                lambda x, weight, bias: F.layer_norm(x, (768,), weight, bias, EPSILON), rows(768, 9, 1.0))
    both_passes("silu_gate", "512x1536", [rows(1536, 1, 3.0), rows(1536, 2, 1.0)],
                lambda gate, up: F.silu(gate) * up, rows(1536, 9, 1.0))
    both_passes("gelu_tanh", "512x3072", [rows(3072, 1, 3.0)],
                lambda x: F.gelu(x, approximate="tanh"), rows(3072, 9, 1.0))

    angles = numbers((1, 128, 1, 32), 2, 3.0)
    angles = torch.cat([angles, angles], -1)
    cos, sin = angles.cos(), angles.sin()

    def rotary(x):
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    both_passes("rotary", "4x128x9x64", [numbers((4, 128, 9, 64), 1, 1.0)], rotary, numbers((4, 128, 9, 64), 9, 1.0))

    product = lambda x, weight: x @ weight
    both_passes("linear", "4x128x576 to 1536", [numbers((4, 128, 576), 1, 1.0), numbers((576, 1536), 2, 0.1)], product,
                numbers((4, 128, 1536), 9, 1.0))
    both_passes("linear", "1x64x576 to 49152, by vocabulary", [numbers((1, 64, 576), 1, 1.0), numbers((49152, 576), 2, 0.1)],
                F.linear, numbers((1, 64, 49152), 9, 1.0))

    student = numbers((CHUNK, VOCABULARY), 1, 4.0).requires_grad_()
    teacher = numbers((CHUNK, VOCABULARY), 2, 4.0)
    labels = torch.arange(CHUNK) * 397 % VOCABULARY

    def differentiated(loss):
        value = loss()
        return [*torch.autograd.grad(value, [student]), value]

    kl = lambda: F.kl_div(F.log_softmax(student, -1), F.log_softmax(teacher, -1), reduction="batchmean", log_target=True)
    shape = f"{CHUNK}x{VOCABULARY}"
    measure("divergence, forward KL", shape, "forward, back", lambda: differentiated(kl))
    measure("cross_entropy", shape, "forward, back", lambda: differentiated(lambda: F.cross_entropy(student, labels)))
    probabilities = torch.softmax(numbers((1, VOCABULARY), 1, 4.0), -1)
    measure("likeliest_ids", f"50 of {VOCABULARY}", "forward", lambda: [torch.topk(probabilities, 50).values])

    size = (1024, 4096)
    parameter, gradient = torch.nn.Parameter(numbers(size, 1, 1.0)), numbers(size, 2, 1e-2)
    parameter.grad = gradient
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.1, fused=True)

    def step():
        optimizer.step()
        return [parameter]

    measure("adamw", "1024x4096", "forward", step)
    # Its square is squared again.
    measure("sum_of_squares", "1024x4096", "forward", lambda: [torch.linalg.vector_norm(gradient)])
    print(json.dumps({"cases": cases, "version": torch.__version__}))


def run(command):
    environment = os.environ | {"RAYON_NUM_THREADS": str(THREADS)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(output.splitlines()[-1])


def key(case):
    return case["kernel"], case["shape"], case["pass"]


def gap(ours, theirs):
    """The largest difference of the results, relative to their size."""
    pairs = zip(ours["results"], theirs["results"], strict=True)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def main(pairs, python):
    times, largest = {}, 0.0
    for pair in range(pairs):
        ours = run([example("kernels")])
        torch = run([python, __file__, "--torch"])
        theirs = {key(case): case for case in torch["cases"]}
        if set(theirs) - {key(case) for case in ours}:
            raise SystemExit(f"the sides have different cases: {set(theirs) ^ {key(case) for case in ours}}")
        for case in ours:
            of_torch = theirs.get(key(case))
            if of_torch:
                apart = gap(case, of_torch)
                largest = max(largest, apart)
                if apart > 1e-3:
                    raise SystemExit(f"{key(case)}: the results differ: {case['results']} {of_torch['results']}")
            row = times.setdefault(key(case), {"ours": [], "composition": [], "torch": []})
            row["ours"].append(case["ours"])
            row["composition"].append(case["composition"])
            row["torch"].extend([of_torch["torch"]] if of_torch else [])
        print(f"pair {pair + 1} of {pairs}", file=sys.stderr)

    print(HEAD.format(pairs=pairs, processor=processor(), threads=THREADS, torch=torch["version"], gap=largest))
    slower = []
    for case, row in times.items():
        ours, composition, theirs = (statistics.median(row[side]) if row[side] else None for side in row)
        cells = [f"{ours:.3f}", f"{composition:.3f}", f"{theirs:.3f}" if theirs else "",
                 f"{ours / composition:.2f}", f"{ours / theirs:.2f}" if theirs else ""]
        print(f"| {' | '.join(case)} | {' | '.join(cells)} |")
        if ours > composition:
            slower.append(" ".join(case))
    print("\nSlower than their compositions: " + ("; ".join(slower) or "none") + ".")


if __name__ == "__main__":
    if sys.argv[1:] == ["--torch"]:
        torch_side()
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--pairs", type=int, default=10)
        parser.add_argument("--python", default=sys.executable)
        main(**vars(parser.parse_args()))
