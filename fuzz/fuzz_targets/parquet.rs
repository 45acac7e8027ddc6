#![no_main]
//! Parquet files. The library's panics are caught where it is called; those that are not end the
//! fuzzer all the same.

use distily_fuzz::{begin_with, of_each_source, read_documents};
use libfuzzer_sys::fuzz_target;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

fn file(compression: Compression) -> Vec<u8> {
    let schema = "message schema { optional binary text (UTF8); required binary p; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = WriterProperties::builder().set_compression(compression);
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build()))
        .expect("in memory");
    let mut group = writer.next_row_group().expect("a group");
    for levels in [Some([1, 0, 1].as_slice()), None] {
        let mut column = group.next_column().expect("a column").expect("a column");
        let texts = ["a", "b\u{e9}", "a"].map(|text| ByteArray::from(text.as_bytes().to_vec()));
        let there = if levels.is_some() { 2 } else { 3 };
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&texts[..there], levels, None)
            .expect("in memory");
        column.close().expect("in memory");
    }
    group.close().expect("in memory");
    writer.close().expect("in memory");
    bytes
}

fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let golden = include_bytes!("../../distily-data/tests/golden/conversations.parquet");
    let mut files = vec![golden.to_vec()];
    files.extend([
        file(Compression::UNCOMPRESSED),
        file(Compression::SNAPPY),
        file(Compression::GZIP(Default::default())),
        file(Compression::ZSTD(Default::default())),
    ]);
    files
        .into_iter()
        .flat_map(|file| of_each_source(&file).collect::<Vec<_>>())
}

fn init() {
    // In the place of the fuzzer's, which ends the process before a panic can be caught.
    std::panic::set_hook(Box::new(|_| {}));
    begin_with("parquet", inputs());
}

fuzz_target!(init: init(), |input: &[u8]| read_documents("a.parquet", input));
