#!/usr/bin/env python3
"""Golden files for the decoder: a tiny random Llama, and all that it reveals.

    llama.py OUT_DIR        needs requirements.txt, beside this file

For each case OUT_DIR/CASE/ gets a Hugging Face folder (config.json, model.safetensors; one case in
shards) and golden.safetensors: for the three batches `plain`, `padded` and `packed` the ids and
segments, the logits, the output of every block, the final hidden state, and of every layer Q, K and V
before rotary positions and the attention weights. Tensors of positions that are padding mean nothing.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

BASE = dict(
    vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, pad_token_id=0,
    bos_token_id=1, eos_token_id=2, attn_implementation="eager",
)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
CASES = {
    "untied": dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True, head_dim=12),
    "llama3_tied": dict(tie_word_embeddings=True, rope_parameters=LLAMA3, rms_norm_eps=1e-5),
}
SEGMENTS = {
    "plain": [[1] * 10, [1] * 10],
    "padded": [[1] * 10, [0] * 4 + [1] * 6],
    "packed": [[1] * 4 + [2] * 6, [1] * 3 + [2] * 3 + [3] * 3 + [0]],
}


def reveal(model, ids, segments):
    """One forward pass; the mask and the positions follow from the segments."""
    length = ids.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    real = segments[:, None, :] != 0
    itself = torch.eye(length, dtype=torch.bool)
    seen = (same & causal & real) | itself
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]
    positions = torch.zeros_like(ids)
    for t in range(1, length):
        go_on = segments[:, t] == segments[:, t - 1]
        positions[:, t] = torch.where(go_on, positions[:, t - 1] + 1, 0)

    kept, hooks = {}, []
    config = model.config

    def keep(name, heads=None):
        def hook(_module, _inputs, output):
            value = output[0] if isinstance(output, tuple) else output
            if heads:
                value = value.view(*value.shape[:2], heads, -1).transpose(1, 2)
            kept[name] = value
        return hook

    for i, layer in enumerate(model.model.layers):
        hooks.append(layer.register_forward_hook(keep(f"hidden.{i}")))
        attention = layer.self_attn
        hooks.append(attention.q_proj.register_forward_hook(keep(f"query.{i}", config.num_attention_heads)))
        hooks.append(attention.k_proj.register_forward_hook(keep(f"key.{i}", config.num_key_value_heads)))
        hooks.append(attention.v_proj.register_forward_hook(keep(f"value.{i}", config.num_key_value_heads)))
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, output_attentions=True,
                    output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    kept["logits"] = out.logits
    kept["embedding"] = out.hidden_states[0]
    kept["final"] = out.hidden_states[-1]
    for i, weights in enumerate(out.attentions):
        kept[f"attention.{i}"] = weights
    return kept


def main(out):
    for name, changes in CASES.items():
        torch.manual_seed(len(name))
        model = LlamaForCausalLM(LlamaConfig(**(BASE | changes))).eval()
        with torch.no_grad():  # norms and biases that matter
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        folder = out / name
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
        save_file(golden, folder / "golden.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
