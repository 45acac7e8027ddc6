#![no_main]
//! Plain text.

use distily_fuzz::{begin_with, of_each_source, read_documents};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "\u{feff}a\r\n\r\nb\r\nc\n\n\n\né\n\n";

fuzz_target!(
    init: begin_with("text", of_each_source(TEXT.as_bytes())),
    |input: &[u8]| read_documents("a.txt", input)
);
