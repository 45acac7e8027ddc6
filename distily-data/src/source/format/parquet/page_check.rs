//! What the library believes of pages: it reserves as many values as a dictionary claims, which may end the
//! process, and skips lists of a header for as long as they claim to go on, beyond the end of the file.

use super::thrift::{Compact, I32, STRUCT, wrong};
use crate::cache::read_exact_at;
use parquet::errors::ParquetError;
use std::fs::File;

/// Bytes of a header that are read first, and at most: it may hold the least and the largest value.
const FIRST: u64 = 1 << 12;
const MOST: u64 = 1 << 24;

/// The fields of `PageHeader`: type, size without and with compression, checksum, and the header of each kind
/// of page.
const PAGE_HEADER: [(i16, u8); 8] = [
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, STRUCT),
    (6, STRUCT),
    (7, STRUCT),
    (8, STRUCT),
];

/// Values, encoding, encodings of the levels, statistics.
const DATA_PAGE_HEADER: [(i16, u8); 5] = [(1, I32), (2, I32), (3, I32), (4, I32), (5, STRUCT)];

/// Values, encoding; whether they are sorted is no number.
const DICTIONARY_PAGE_HEADER: [(i16, u8); 2] = [(1, I32), (2, I32)];

/// Values, nulls, rows, encoding, bytes of the levels; whether it is compressed is no number; statistics.
const DATA_PAGE_HEADER_V2: [(i16, u8); 7] = [
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, I32),
    (6, I32),
    (8, STRUCT),
];

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

/// `PageHeader`.
fn header(bytes: &[u8]) -> Result<Page, ParquetError> {
    let mut thrift = Compact(bytes);
    let (mut id, mut sizes, mut values) = (0, [None; 2], 0);
    while let Some(kind) = thrift.known_field(&mut id, &PAGE_HEADER)? {
        match id {
            2 | 3 => sizes[id as usize - 2] = Some(size(&mut thrift)?),
            5 => drop(first_size(&mut thrift, &DATA_PAGE_HEADER)?),
            6 => drop(first_size(&mut thrift, &[])?),
            7 => values = first_size(&mut thrift, &DICTIONARY_PAGE_HEADER)?,
            8 => drop(first_size(&mut thrift, &DATA_PAGE_HEADER_V2)?),
            _ => thrift.skip(kind, 0)?,
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

/// The header of a kind of page, whose field 1 is how many values it has.
fn first_size(thrift: &mut Compact<'_>, known: &[(i16, u8)]) -> Result<u64, ParquetError> {
    let (mut id, mut values) = (0, 0);
    while let Some(kind) = thrift.known_field(&mut id, known)? {
        match id {
            1 if !known.is_empty() => values = size(thrift)?,
            _ => thrift.skip(kind, 0)?,
        }
    }
    Ok(values)
}

/// A number of 32 bits that is no less than 0.
fn size(thrift: &mut Compact<'_>) -> Result<u64, ParquetError> {
    let zigzag = thrift.number()?;
    match zigzag % 2 == 0 && zigzag / 2 <= i32::MAX as u64 {
        true => Ok(zigzag / 2),
        false => Err(wrong("a page with a size below 0, or of more than 32 bits")),
    }
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
