//! What the library believes of the headers of pages: it passes over lists for as long as they claim to go on,
//! beyond the end of the file, and makes as many rows as a group claims, out of no pages.

use super::metadata::{DATA_PAGE_HEADER, DATA_PAGE_HEADER_V2, PAGE_HEADER};
use super::thrift::{Compact, Field, wrong};
use crate::cache::read_exact_at;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::fs::File;

/// Bytes of a header that are read first, and at most: it may hold the least and the largest value.
const FIRST: u64 = 1 << 12;
const MOST: u64 = 1 << 28;

/// Refuses a file where a column of these names has a page, or a row group, that can't be what it claims. But
/// for the headers of the pages, nothing is read.
pub(super) fn check_pages(
    file: &File,
    metadata: &ParquetMetaData,
    names: &[&str],
) -> Result<(), ParquetError> {
    let mut left = file.metadata()?.len();
    for group in metadata.row_groups() {
        let columns = group.columns().iter().filter(|column| {
            let name = column.column_path().parts().first();
            name.is_some_and(|name| names.contains(&name.as_str()))
        });
        for column in columns {
            let (start, length) = column.byte_range();
            let rest = left.checked_sub(length);
            left = rest.ok_or_else(|| wrong("columns that are longer than the file"))?;
            let values = values(file, start, length)?;
            if i64::try_from(values).is_ok_and(|values| values < group.num_rows()) {
                let rows = group.num_rows();
                let claim = format!("{rows} rows of a column of {values} values");
                return Err(wrong(&claim));
            }
        }
    }
    Ok(())
}

/// How many values the pages of a column of a row group say that they have, null included.
fn values(file: &File, start: u64, length: u64) -> Result<u64, ParquetError> {
    let end = start.saturating_add(length).min(file.metadata()?.len());
    let (mut at, mut values) = (start, 0);
    while at < end {
        let page = page(file, at, end)?;
        at += page.bytes + page.compressed;
        values += page.values;
    }
    Ok(values)
}

/// What of a page's header tells where the next one is, and how much is in it.
struct Page {
    /// Of the header.
    bytes: u64,
    compressed: u64,
    /// Of data.
    values: u64,
}

/// The page at a byte of a file.
fn page(file: &File, at: u64, end: u64) -> Result<Page, ParquetError> {
    let mut length = FIRST;
    loop {
        let mut bytes = vec![0; length.min(end - at) as usize];
        read_exact_at(file, &mut bytes, at)?;
        match header(&bytes) {
            // It may go on.
            Err(_) if length < MOST && length < end - at => length *= 16,
            page => return page,
        }
    }
}

fn header(bytes: &[u8]) -> Result<Page, ParquetError> {
    let mut thrift = Compact(bytes);
    let (mut id, mut kind, mut compressed) = (0, None, None);
    let mut values = [0; 2];
    while let Some(field) = thrift.field(&mut id, PAGE_HEADER)? {
        match id {
            1 => kind = Some(thrift.size()?),
            3 => compressed = Some(thrift.size()?),
            5 => values[0] = data_values(&mut thrift, DATA_PAGE_HEADER)?,
            8 => values[1] = data_values(&mut thrift, DATA_PAGE_HEADER_V2)?,
            _ => thrift.pass(field, 0)?,
        }
    }
    let values = match kind {
        Some(0) => values[0],
        Some(3) => values[1],
        // A dictionary. There are no pages of indexes: nothing writes them, and the library does not know their
        // end.
        Some(2) => 0,
        _ => return Err(wrong("a page of an unknown kind")),
    };
    Ok(Page {
        bytes: (bytes.len() - thrift.0.len()) as u64,
        compressed: compressed.ok_or_else(|| wrong("a page without a size"))?,
        values,
    })
}

fn data_values(thrift: &mut Compact<'_>, header: &[Field]) -> Result<u64, ParquetError> {
    let (mut id, mut values) = (0, 0);
    while let Some(kind) = thrift.field(&mut id, header)? {
        match id {
            1 => values = thrift.size()?,
            _ => thrift.pass(kind, 0)?,
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_an_end() {
        // Type, both sizes, data of 5 values; then a list of doubles that go on beyond the end.
        let sound = [0x15, 0, 0x15, 0x10, 0x15, 0x0c, 0x2c, 0x15, 0x0a, 0, 0];
        let page = header(&sound).unwrap();
        assert_eq!((page.bytes, page.compressed, page.values), (11, 6, 5));
        let mut endless = sound[..10].to_vec();
        endless.extend([0x79, 0xf7, 0xff, 0xff, 0xff, 0xff, 0x07]);
        for (bytes, says) in [
            (&endless[..], "more elements than bytes"),
            (&sound[..5], "ends too early"),
            (&[0x15, 0, 0], "without a size"),
            (&[0x35, 0x03, 0], "below 0"),
            (&[0x36, 0x02, 0], "wrong kind"),
            (&[0x15, 2, 0x15, 0x10, 0x15, 0x0c, 0], "unknown kind"),
        ] {
            let problem = header(bytes).err().unwrap().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
