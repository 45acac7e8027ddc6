#!/usr/bin/env python3
"""Golden files for the decoder: tiny random models of every architecture, and all that they reveal.

    decoders.py OUT_DIR        needs requirements.txt, beside this file

For each case OUT_DIR/CASE/ gets a Hugging Face folder (config.json, model.safetensors; one case in
shards) and golden.safetensors: for the three batches `plain`, `padded` and `packed` the ids and
segments, the logits, the output of every block, the final hidden state, and of every layer Q, K and V
before rotary positions and the attention weights. Tensors of positions that are padding mean nothing.

The masks are made here, from the segments; for `plain` the logits are held against those of the masks
that transformers makes itself.
"""
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

BASE = dict(
    vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, pad_token_id=0,
    bos_token_id=1, eos_token_id=2, attn_implementation="eager",
)
GPT2 = dict(
    vocab_size=48, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3, pad_token_id=0,
    bos_token_id=1, eos_token_id=2, attn_implementation="eager",
)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
LINEAR = dict(rope_type="linear", rope_theta=1000.0, factor=2.0)
# `plain` is longer than the original context, no document of `packed` is.
LONG = dict(rope_type="longrope", rope_theta=1000.0, partial_rotary_factor=0.5, short_factor=[1.0, 1.25],
            long_factor=[1.5, 4.0], original_max_position_embeddings=8)
CASES = {
    "untied": BASE | dict(model_type="llama", tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
                          head_dim=12),
    "llama3_tied": BASE | dict(model_type="llama", tie_word_embeddings=True, rope_parameters=LLAMA3,
                               rms_norm_eps=1e-5),
    "llama_linear": BASE | dict(model_type="llama", rope_parameters=LINEAR, num_key_value_heads=1),
    "gpt2": GPT2 | dict(model_type="gpt2"),
    "gpt2_untied": GPT2 | dict(model_type="gpt2", n_inner=40, tie_word_embeddings=False),
    "mistral": BASE | dict(model_type="mistral", sliding_window=4, head_dim=12),
    "qwen2": BASE | dict(model_type="qwen2", tie_word_embeddings=True, use_sliding_window=True,
                         sliding_window=4, max_window_layers=1),
    "qwen3": BASE | dict(model_type="qwen3", head_dim=12, attention_bias=True),
    "phi3": BASE | dict(model_type="phi3", sliding_window=6, rope_parameters=LONG,
                        original_max_position_embeddings=8),
}
SEGMENTS = {
    "plain": [[1] * 10, [1] * 10],
    "padded": [[1] * 10, [0] * 4 + [1] * 6],
    "packed": [[1] * 4 + [2] * 6, [1] * 3 + [2] * 3 + [3] * 3 + [0]],
}


def additive(seen):
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


def masks(config, segments):
    """The additive masks of the model's layers, as it takes them."""
    length = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    real = segments[:, None, :] != 0
    itself = torch.eye(length, dtype=torch.bool)
    full = (same & causal & real) | itself
    window = getattr(config, "sliding_window", None)
    if window is None:
        return additive(full)
    sliding = full & ~causal.tril(-window)
    if getattr(config, "layer_types", None) is None:
        return additive(sliding)
    return {"full_attention": additive(full), "sliding_attention": additive(sliding)}


def reveal(model, ids, segments):
    """One forward pass; the masks and the positions follow from the segments."""
    length = ids.shape[1]
    positions = torch.zeros_like(ids)
    for t in range(1, length):
        go_on = segments[:, t] == segments[:, t - 1]
        positions[:, t] = torch.where(go_on, positions[:, t - 1] + 1, 0)

    kept, hooks = {}, []
    config = model.config
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads

    def keep(*names_and_heads):
        def hook(_module, _inputs, output):
            value = output[0] if isinstance(output, tuple) else output
            if names_and_heads[0][1] is None:
                kept[names_and_heads[0][0]] = value
                return
            value = value.reshape(*value.shape[:2], -1)
            parts = value.split([n * head_dim for _, n in names_and_heads], dim=-1)
            for (name, n), part in zip(names_and_heads, parts):
                kept[name] = part.unflatten(-1, (n, head_dim)).transpose(1, 2)
        return hook

    gpt2 = config.model_type == "gpt2"
    for i, layer in enumerate(model.transformer.h if gpt2 else model.model.layers):
        query, key, value = (f"query.{i}", heads), (f"key.{i}", kv_heads), (f"value.{i}", kv_heads)
        attention = layer.attn if gpt2 else layer.self_attn
        match config.model_type:
            case "gpt2":
                modules = {attention.c_attn: [query, key, value]}
            case "phi3":
                modules = {attention.qkv_proj: [query, key, value]}
            case "qwen3":
                modules = {attention.q_norm: [query], attention.k_norm: [key], attention.v_proj: [value]}
            case _:
                modules = {attention.q_proj: [query], attention.k_proj: [key], attention.v_proj: [value]}
        for module, names in (modules | {layer: [(f"hidden.{i}", None)]}).items():
            hooks.append(module.register_forward_hook(keep(*names)))
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=masks(config, segments), position_ids=positions,
                    output_attentions=True, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    kept["logits"] = out.logits
    kept["embedding"] = out.hidden_states[0]
    kept["final"] = out.hidden_states[-1]
    for i, weights in enumerate(out.attentions):
        kept[f"attention.{i}"] = weights
    return kept


def main(out):
    for name, settings in CASES.items():
        torch.manual_seed(len(name))
        settings = dict(settings)
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():  # norms and biases that matter
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        shards = {"max_shard_size": "40KB"} if name == "untied" else {}
        model.save_pretrained(folder, **shards)
        (folder / "generation_config.json").unlink(missing_ok=True)
        golden = {}
        for batch, segments in SEGMENTS.items():
            segments = torch.tensor(segments)
            ids = torch.randint(3, 48, segments.shape)
            golden[f"{batch}.ids"] = ids.to(torch.int32)
            golden[f"{batch}.segments"] = segments.to(torch.int32)
            for key, value in reveal(model, ids, segments).items():
                golden[f"{batch}.{key}"] = value.contiguous().clone()
            if batch == "plain":
                with torch.no_grad():
                    own = model(input_ids=ids).logits
                assert torch.allclose(own, golden["plain.logits"], atol=1e-5), name
        save_file(golden, folder / "golden.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
