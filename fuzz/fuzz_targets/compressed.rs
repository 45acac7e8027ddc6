#![no_main]
//! Compressed files; the first byte says what of.

use distily_fuzz::{begin_with, of_each_source, read_documents};
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

const NAMES: [&str; 4] = ["a.txt.gz", "a.jsonl.gz", "a.txt.zst", "a.csv.zst"];
const TEXT: &str = "text,p\n\n{\"text\": \"a\", \"p\": \"\"}\n";

fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let gzip = |level| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(TEXT.as_bytes()).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let zstd = |level| zstd::encode_all(TEXT.as_bytes(), level).expect("in memory");
    let two = [
        gzip(flate2::Compression::none()),
        gzip(flate2::Compression::best()),
    ]
    .concat();
    let content = [gzip(flate2::Compression::fast()), two, zstd(1), zstd(19)];
    let named = (0..).zip(content).map(|(name, content)| {
        let of_sources = of_each_source(&content).take(1);
        of_sources
            .map(move |input| [&[name], input.as_slice()].concat())
            .collect::<Vec<_>>()
    });
    named.flatten()
}

fuzz_target!(init: begin_with("compressed", inputs()), |input: &[u8]| {
    if let Some((name, input)) = input.split_first() {
        read_documents(NAMES[usize::from(*name) % NAMES.len()], input);
    }
});
