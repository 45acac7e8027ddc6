#![no_main]
//! Chat templates, and the configuration of a tokenizer after the first byte of 0.

use distily_data::{ChatTemplate, DataError, Message};
use distily_fuzz::{begin_with, folder, halves};
use libfuzzer_sys::fuzz_target;
use std::fs;

const TEMPLATES: [&str; 4] = [
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}\
     {% if add_generation_prompt %}<assistant>{% endif %}",
    "{{- bos_token }}{%- set ns = namespace(n=0) %}{% for m in messages if m['role'] != 'x' %}\
     {%- set ns.n = ns.n + 1 %}{{ m.content[:3].upper() ~ loop.index0 }}{{ eos_token }}{% endfor %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% macro say(m) %}{{ m | tojson }}{% endmacro %}{% for m in messages %}{{ say(m) }}{% else %}\
     {{ raise_exception('none') }}{% endfor %}{{ strftime_now }}{{ range(3) | list }}",
];
const CONFIG: &str = r#"{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template":
    [{"name": "default", "template": "{{ messages }}"}]}"#;

fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let both = |template: &&str| format!("{template}\0{CONFIG}").into_bytes();
    ["", "x"]
        .iter()
        .chain(&TEMPLATES)
        .map(both)
        .collect::<Vec<_>>()
        .into_iter()
}

fn read() -> Result<(), DataError> {
    let template = ChatTemplate::load(folder())?;
    let said = [
        ("system", "be"),
        ("user", " a\n"),
        ("assistant", "bé"),
        ("user", ""),
    ];
    let said = said.map(|(role, content)| Message::new(role, content));
    std::hint::black_box(template.render(&said, true)?);
    let (text, turns) = template.assistant_turns(&said[..3])?;
    for turn in turns {
        assert!(text.get(turn).is_some(), "a turn is a part of the text");
    }
    Ok(())
}

fuzz_target!(init: begin_with("chat_template", inputs()), |input: &[u8]| {
    let (template, config) = halves(input);
    let file = folder().join("chat_template.jinja");
    if template.is_empty() {
        // Then that of the configuration.
        let _ = fs::remove_file(&file);
    } else {
        fs::write(&file, template).expect("a file");
    }
    fs::write(folder().join("tokenizer_config.json"), config).expect("a file");
    if let Err(problem) = read() {
        std::hint::black_box(problem.to_string());
    }
});
