//! What the library believes of pages as it decodes them: it reserves as many values as a dictionary claims, and
//! as many lengths as texts in delta encoding claim. What can't be reserved ends the process, so each page is
//! looked at between its decompression and its decoder.

use super::footer_check::check_footer;
use super::page_check::check_pages;
use super::thrift::{Compact, wrong};
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::{ColumnDescPtr, Type, TypePtr};
use std::fs::File;

/// A file, of which nothing is read that was not looked at before.
pub(super) struct CheckedFile {
    reader: SerializedFileReader<File>,
    file: File,
}

impl CheckedFile {
    pub(super) fn open(mut file: File) -> Result<Self, ParquetError> {
        check_footer(&mut file)?;
        let reader = SerializedFileReader::new(file.try_clone()?)?;
        Ok(Self { reader, file })
    }

    /// The rows, of some columns alone.
    pub(super) fn rows(self, columns: Vec<TypePtr>) -> Result<RowIter<'static>, ParquetError> {
        let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        check_pages(&self.file, self.metadata(), &names)?;
        let schema = self.metadata().file_metadata().schema().name();
        let columns = Type::group_type_builder(schema).with_fields(columns);
        let columns = columns.build()?;
        RowIter::from_file_into(Box::new(self)).project(Some(columns))
    }
}

struct CheckedGroup<'a>(Box<dyn RowGroupReader + 'a>);

struct CheckedPages {
    pages: Box<dyn PageReader>,
    column: ColumnDescPtr,
}

impl FileReader for CheckedFile {
    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    fn get_row_group(&self, i: usize) -> Result<Box<dyn RowGroupReader + '_>, ParquetError> {
        Ok(Box::new(CheckedGroup(self.reader.get_row_group(i)?)))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>, ParquetError> {
        RowIter::from_file(projection, self)
    }
}

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>, ParquetError> {
        Ok(Box::new(CheckedPages {
            pages: self.0.get_column_page_reader(i)?,
            column: self.0.metadata().schema_descr().column(i),
        }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>, ParquetError> {
        RowIter::from_row_group(projection, self)
    }
}

// A dictionary is never deferred: it comes as a page, and is looked at.
impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.pages.get_next_page()?;
        page.map(|page| check_page(&page, &self.column).map(|()| page))
            .transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Values of a page: many more than there are. A writer goes on to the next one after some thousand, or a MB.
const MOST_VALUES: u64 = 1 << 26;

fn check_page(page: &Page, column: &ColumnDescPtr) -> Result<(), ParquetError> {
    let values = u64::from(page.num_values());
    if values > MOST_VALUES {
        return Err(wrong(&format!("a page of {values} values")));
    }
    if let Page::DictionaryPage { buf, .. } = page {
        let most = match column.physical_type() {
            PhysicalType::BOOLEAN => 8 * buf.len(),
            _ => buf.len(),
        };
        return match values <= most as u64 {
            true => Ok(()),
            false => {
                let bytes = buf.len();
                let claim = format!("a dictionary of {values} values in {bytes} bytes");
                Err(wrong(&claim))
            }
        };
    }
    let streams = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        // Lengths of the prefix that is as before, and of what follows it.
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => return Ok(()),
    };
    let mut bytes = Compact(page.buffer());
    bytes.take(levels(page, column)?)?;
    for _ in 0..streams {
        let lengths = lengths(&mut bytes)?;
        if lengths > values {
            let claim = format!("a page of {values} texts with {lengths} lengths");
            return Err(wrong(&claim));
        }
    }
    Ok(())
}

/// The bytes of the levels of a page of data, which come before its values.
fn levels(page: &Page, column: &ColumnDescPtr) -> Result<u64, ParquetError> {
    match *page {
        Page::DictionaryPage { .. } => Ok(0),
        Page::DataPageV2 {
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => Ok(u64::from(def_levels_byte_len) + u64::from(rep_levels_byte_len)),
        Page::DataPage {
            ref buf,
            num_values,
            def_level_encoding,
            rep_level_encoding,
            ..
        } => {
            let mut rest = Compact(buf);
            for (most, encoding) in [
                (column.max_rep_level(), rep_level_encoding),
                (column.max_def_level(), def_level_encoding),
            ] {
                let width = i16::BITS - most.leading_zeros();
                let bytes = match encoding {
                    _ if most == 0 => 0,
                    Encoding::RLE => {
                        let bytes = rest.take(4)?.try_into().expect("4 bytes");
                        u64::from(u32::from_le_bytes(bytes))
                    }
                    // Packed bits: the library reads no other.
                    _ => (u64::from(num_values) * u64::from(width)).div_ceil(8),
                };
                rest.take(bytes)?;
            }
            Ok((buf.len() - rest.0.len()) as u64)
        }
    }
}

/// Passes over numbers in `DELTA_BINARY_PACKED` and says how many there are. Behind the header come blocks, each
/// with its least delta, the bit widths of its miniblocks, and these.
fn lengths(bytes: &mut Compact<'_>) -> Result<u64, ParquetError> {
    let (block, miniblocks, count) = (bytes.number()?, bytes.number()?, bytes.number()?);
    let of_miniblock = block.checked_div(miniblocks).filter(|values| *values > 0);
    let of_miniblock = of_miniblock.ok_or_else(|| wrong("a block of no lengths"))?;
    let _first = bytes.number()?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let _least_delta = bytes.number()?;
        for width in bytes.take(miniblocks)? {
            // What is not needed has no bytes, whatever its width.
            if left > 0 {
                bytes.take(of_miniblock.saturating_mul(u64::from(*width)) / 8)?;
            }
            left = left.saturating_sub(of_miniblock);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;
    use std::sync::Arc;

    const LISTS: &str = "message m { optional group l (LIST) { repeated group list {
        optional binary element (UTF8); } } }";

    /// A file of 3000 lists of a text or null, of growing lengths.
    fn file(version: WriterVersion, encoding: Encoding) -> File {
        let schema = Arc::new(parse_message_type(LISTS).unwrap());
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_dictionary_enabled(false)
            .set_encoding(encoding);
        let file = tempfile::tempfile().unwrap();
        let written = file.try_clone().unwrap();
        let properties = Arc::new(properties.build());
        let mut writer = SerializedFileWriter::new(written, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let defined: Vec<i16> = (0..3000)
            .map(|at| if at % 7 == 0 { 2 } else { 3 })
            .collect();
        let texts: Vec<ByteArray> = (0..3000)
            .filter(|at| at % 7 > 0)
            .map(|at| ByteArray::from(text(at).into_bytes()))
            .collect();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&texts, Some(&defined), Some(&[0; 3000]))
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        file
    }

    fn text(at: usize) -> String {
        format!("{:0>1$}", at, 1 + at / 9 + at % 5)
    }

    #[test]
    fn texts_in_delta_encoding_are_read() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for encoding in [
                Encoding::PLAIN,
                Encoding::DELTA_LENGTH_BYTE_ARRAY,
                Encoding::DELTA_BYTE_ARRAY,
            ] {
                let file = CheckedFile::open(file(version, encoding)).unwrap();
                let schema = file.metadata().file_metadata().schema();
                let columns = schema.get_fields().to_vec();
                let rows = file.rows(columns).unwrap();
                let rows: Vec<String> = rows.map(|row| row.unwrap().to_string()).collect();
                assert_eq!(rows.len(), 3000);
                assert_eq!(rows[0], "{l: [null]}");
                assert_eq!(rows[2999], format!("{{l: [\"{}\"]}}", text(2999)));
            }
        }
    }

    #[test]
    fn levels_come_before_values() {
        let schema = Arc::new(parse_message_type(LISTS).unwrap());
        let column = SchemaDescriptor::new(schema).column(0);
        let page = |encoding| Page::DataPage {
            buf: [[3, 0, 0, 0, 9, 9, 9], [2, 0, 0, 0, 9, 9, 9]]
                .concat()
                .into(),
            num_values: 12,
            encoding: Encoding::PLAIN,
            def_level_encoding: encoding,
            rep_level_encoding: encoding,
            statistics: None,
        };
        assert_eq!(levels(&page(Encoding::RLE), &column).unwrap(), 7 + 6);
        // A bit for each value of the repetition, two for the definition, up to 3.
        #[expect(deprecated, reason = "old files have it")]
        let packed = Encoding::BIT_PACKED;
        assert_eq!(levels(&page(packed), &column).unwrap(), 2 + 3);
    }

    #[test]
    fn rows_have_values() {
        let file = file(WriterVersion::PARQUET_2_0, Encoding::PLAIN);
        let file = CheckedFile::open(file).unwrap();
        let mut metadata = file.metadata().clone().into_builder();
        for group in metadata.take_row_groups() {
            let group = group.into_builder().set_num_rows(3001);
            metadata = metadata.add_row_group(group.build().unwrap());
        }
        let problem = check_pages(&file.file, &metadata.build(), &["l"]).unwrap_err();
        let says = "3001 rows of a column of 3000 values";
        assert!(problem.to_string().contains(says), "{problem}");
    }

    #[test]
    fn a_page_has_what_it_claims() {
        let schema = parse_message_type("message m { required binary b; }").unwrap();
        let column = SchemaDescriptor::new(Arc::new(schema)).column(0);
        let data = |encoding, bytes: &[u8]| Page::DataPage {
            buf: bytes.to_vec().into(),
            num_values: 5,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let dictionary = |num_values| Page::DictionaryPage {
            buf: vec![0; 9].into(),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        // Blocks of 128 in 4 parts; so many lengths, the first of which is 2; and one block, whose first part has
        // no bits.
        let lengths = |count: u8| [128, 1, 4, count, 4, 0, 0, 0, 0, 0];
        let endless = [128, 1, 4, 128, 128, 128, 128, 128, 2, 0];
        let twice = [lengths(5), lengths(6)].concat();
        check_page(&dictionary(9), &column).unwrap();
        let truths = parse_message_type("message m { required boolean b; }").unwrap();
        let truths = SchemaDescriptor::new(Arc::new(truths)).column(0);
        check_page(&dictionary(72), &truths).unwrap();
        for (encoding, bytes) in [
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, lengths(5).to_vec()),
            (
                Encoding::DELTA_BYTE_ARRAY,
                [lengths(5), lengths(4)].concat(),
            ),
            (Encoding::PLAIN, vec![]),
        ] {
            check_page(&data(encoding, &bytes), &column).unwrap();
        }
        for (page, says) in [
            (dictionary(10), "10 values in 9 bytes"),
            (dictionary(u32::MAX), "a page of 4294967295 values"),
            (
                data(Encoding::DELTA_LENGTH_BYTE_ARRAY, &lengths(6)),
                "6 lengths",
            ),
            (data(Encoding::DELTA_BYTE_ARRAY, &twice), "6 lengths"),
            (data(Encoding::DELTA_BYTE_ARRAY, &endless), "too early"),
            (data(Encoding::DELTA_BYTE_ARRAY, &lengths(5)), "too early"),
            (data(Encoding::DELTA_BYTE_ARRAY, &[0, 4, 1]), "no lengths"),
        ] {
            let problem = check_page(&page, &column).unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
