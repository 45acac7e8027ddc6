#![no_main]
//! JSON lines, as texts, pairs and conversations.

use distily_fuzz::{begin_with, of_each_source, read_documents};
use libfuzzer_sys::fuzz_target;

const LINES: &str = r#"{"text": "a b", "p": "q\u00e9"}
{"text": null, "p": "é", "m": [{"role": "user", "content": "a"}, {"role": "gpt", "content": "b"}]}

{"text": "c", "p": "d", "m": [], "n": [1.5e3, true, {"k": null}]}
"#;

fuzz_target!(
    init: begin_with("json_lines", of_each_source(LINES.as_bytes())),
    |input: &[u8]| read_documents("a.jsonl", input)
);
