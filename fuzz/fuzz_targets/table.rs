#![no_main]
//! Tables.

use distily_fuzz::{begin_with, of_each_source, read_documents};
use libfuzzer_sys::fuzz_target;

const TABLE: &str = "text,p,m\na,b,c\r\n\"a, \"\"b\"\"\n\",é,\n,,\n";

fuzz_target!(
    init: begin_with("table", of_each_source(TABLE.as_bytes())),
    |input: &[u8]| read_documents("a.csv", input)
);
