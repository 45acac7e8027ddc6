#!/usr/bin/env python3
"""Golden file for conversations: ids and the assistant's tokens by transformers' apply_chat_template.

    chat.py TOKENIZER.json OUT.json        needs transformers==5.23.0

TOKENIZER.json is that of examples/quickstart/teacher.
"""
import json
import sys

from transformers import PreTrainedTokenizerFast

CHAT_ML = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {{- message.content + '<|im_end|>\\n' }}
        {%- endgeneration %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
# With the white space of tags that are not cut, and what Mistral's kind looks like.
BLOCKS = """{{ bos_token }}
{% for message in messages %}
{% if message.role == 'assistant' %}
  {% generation %}
  {{ message.content }}{{ eos_token }}
  {% endgeneration %}
{% else %}
[{{ message.role }}] {{ message.content | trim }} [/{{ message.role }}]
{% endif %}
{% endfor %}"""

CONVERSATIONS = [
    [("user", "Tell me a story."), ("assistant", "One day, a duck found a big red ball.")],
    [("system", "Be kind."), ("user", "Hello"), ("assistant", "\n\nHello, Tom!\n"), ("user", " And now? "),
     ("assistant", "Now we play. \u00e9\u2603\U0001f986")],
    [("user", "The duck"), ("assistant", ""), ("user", "No?"), ("assistant", "\tNo.")],
    [("user", "Nobody answers.")],
]

tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[1], bos_token="<|endoftext|>", eos_token="<|endoftext|>")
golden = []
for template in [CHAT_ML, BLOCKS]:
    for conversation in CONVERSATIONS:
        messages = [dict(role=role, content=content) for role, content in conversation]
        encoded = tokenizer.apply_chat_template(
            messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
        text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
        golden.append(dict(template=template, messages=messages, text=text, ids=encoded["input_ids"],
                           assistant=encoded["assistant_masks"]))
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(golden, file, indent=1)
    file.write("\n")
