//! What the library believes of pages: it reserves as many values as a dictionary claims, which may end the
//! process, and skips lists of a header for as long as they claim to go on, beyond the end of the file.

use super::metadata::{DICTIONARY_PAGE_HEADER, PAGE_HEADER};
use super::thrift::{Compact, wrong};
use crate::cache::read_exact_at;
use parquet::errors::ParquetError;
use std::fs::File;

/// Bytes of a header that are read first, and at most: it may hold the least and the largest value.
const FIRST: u64 = 1 << 12;
const MOST: u64 = 1 << 24;

/// What of a page's header tells where the next one is, and how much is in it.
struct Page {
    /// Of the header.
    bytes: u64,
    compressed: u64,
    uncompressed: u64,
    /// Of a dictionary.
    values: u64,
}

/// Refuses a column of a row group, from a byte on and so long, with a page that can't be what it claims.
pub(super) fn check_pages(file: &File, start: u64, length: u64) -> Result<(), ParquetError> {
    let file_length = file.metadata()?.len();
    let end = start.saturating_add(length).min(file_length);
    let mut at = start;
    while at < end {
        let page = page(file, at, end)?;
        // A value takes a byte or more, but for that of no width, which is one.
        if page.values > page.uncompressed.max(1) {
            let Page {
                values,
                uncompressed,
                ..
            } = page;
            let claim = format!("a dictionary of {values} values in {uncompressed} bytes");
            return Err(wrong(&claim));
        }
        at += page.bytes + page.compressed;
    }
    Ok(())
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
    let (mut id, mut sizes, mut values) = (0, [None; 2], 0);
    while let Some(kind) = thrift.field(&mut id, PAGE_HEADER)? {
        match id {
            2 | 3 => sizes[id as usize - 2] = Some(thrift.size()?),
            7 => values = dictionary_values(&mut thrift)?,
            _ => thrift.pass(kind, 0)?,
        }
    }
    let [Some(uncompressed), Some(compressed)] = sizes else {
        return Err(wrong("a page without a size"));
    };
    Ok(Page {
        bytes: (bytes.len() - thrift.0.len()) as u64,
        compressed,
        uncompressed,
        values,
    })
}

fn dictionary_values(thrift: &mut Compact<'_>) -> Result<u64, ParquetError> {
    let (mut id, mut values) = (0, 0);
    while let Some(kind) = thrift.field(&mut id, DICTIONARY_PAGE_HEADER)? {
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
        // Type, both sizes; then a list of doubles that go on beyond the end.
        let sound = [0x15, 0, 0x15, 0x10, 0x15, 0x0c, 0];
        let page = header(&sound).unwrap();
        assert_eq!((page.bytes, page.uncompressed, page.compressed), (7, 8, 6));
        let mut endless = sound[..6].to_vec();
        endless.extend([0x79, 0xf7, 0xff, 0xff, 0xff, 0xff, 0x07]);
        for (bytes, says) in [
            (&endless[..], "more elements than bytes"),
            (&sound[..5], "ends too early"),
            (&[0x15, 0, 0], "without a size"),
            (&[0x25, 0x03, 0x15, 0, 0], "below 0"),
            (&[0x26, 0x02, 0x15, 0, 0], "wrong kind"),
        ] {
            let problem = header(bytes).err().unwrap().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
