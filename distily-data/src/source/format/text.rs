use super::{Rows, unreadable};
use crate::source::cell::{Cell, Row};
use memchr::memmem::Finder;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// The pieces of a text between separators, or all of it, as the column `text`. Lines end in `\n`,
/// whatever ends them in the file, so that a separator is found and a copy known for one.
pub(super) fn rows(path: &Path, bytes: Box<dyn BufRead>, separator: Option<&str>) -> Rows {
    let separator = separator.map(|separator| separator.replace("\r\n", "\n"));
    let mut pieces = Pieces {
        path: path.to_owned(),
        bytes,
        separator: separator.map(|separator| Finder::new(&separator).into_owned()),
        read: Vec::new(),
        start: 0,
        searched: 0,
        ended: false,
        found: false,
    };
    Box::new(std::iter::from_fn(move || pieces.next()))
}

struct Pieces {
    path: PathBuf,
    bytes: Box<dyn BufRead>,
    separator: Option<Finder<'static>>,
    /// What is read and not all handed on.
    read: Vec<u8>,
    /// Where the next piece starts.
    start: usize,
    /// Where the next separator may start.
    searched: usize,
    ended: bool,
    found: bool,
}

impl Pieces {
    fn next(&mut self) -> Option<Result<Row, String>> {
        loop {
            if let Some(separator) = &self.separator {
                let width = separator.needle().len();
                if let Some(at) = separator.find(&self.read[self.searched..]) {
                    let end = self.searched + at;
                    let piece = self.read[self.start..end].to_vec();
                    self.start = end + width;
                    (self.searched, self.found) = (self.start, true);
                    return Some(row(piece));
                }
                self.searched = self.start.max((self.read.len() + 1).saturating_sub(width));
            }
            if self.ended {
                return self.last();
            }
            if let Err(error) = self.read_on() {
                return Some(Err(unreadable(&error)));
            }
        }
    }

    fn last(&mut self) -> Option<Result<Row, String>> {
        if let Some(separator) = &self.separator
            && !self.found
        {
            let (file, separator) = (self.path.display(), separator.needle().escape_ascii());
            tracing::warn!(%file, %separator, "the separator occurs nowhere: one document");
            self.found = true;
        }
        let rest = std::mem::take(&mut self.read).split_off(self.start);
        (self.start, self.searched) = (0, 0);
        (!rest.is_empty()).then(|| row(rest))
    }

    fn read_on(&mut self) -> std::io::Result<()> {
        self.read.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let chunk = self.bytes.fill_buf()?;
        let width = chunk.len();
        self.ended = width == 0;
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.read.last() == Some(&b'\r') && rest[0] == b'\n' {
                self.read.pop();
            }
            let line = memchr::memchr(b'\r', rest).map_or(rest.len(), |at| at + 1);
            self.read.extend_from_slice(&rest[..line]);
            rest = &rest[line..];
        }
        // What was a separator's first byte may have become a line's end.
        self.searched = self.searched.saturating_sub(1);
        self.bytes.consume(width);
        Ok(())
    }
}

fn row(piece: Vec<u8>) -> Result<Row, String> {
    Ok(vec![("text".to_owned(), Cell::text(piece)?)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    /// Read so many bytes at a time.
    fn pieces(text: &str, separator: Option<&str>, capacity: usize) -> Vec<String> {
        let bytes = std::io::Cursor::new(text.to_owned().into_bytes());
        let bytes = Box::new(BufReader::with_capacity(capacity, bytes));
        rows(Path::new("text.txt"), bytes, separator)
            .map(|row| match row.unwrap().remove(0).1 {
                Cell::Text(text) => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        let mut rows = rows(
            Path::new("text.txt"),
            Box::new(b"ok\nabc\xff".as_slice()),
            Some("\n"),
        );
        assert!(rows.next().unwrap().is_ok());
        let error = rows.next().unwrap().unwrap_err();
        assert!(error.contains("not UTF-8 at byte 3"), "{error}");
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_they_are_read(
            text in "[ab\r\n]{0,40}", separator in "[ab\n]{1,3}", capacity in 1usize..50,
        ) {
            let normal = text.replace("\r\n", "\n");
            let mut expected: Vec<&str> = normal.split(separator.as_str()).collect();
            // There is nothing after the last separator.
            if expected.last() == Some(&"") {
                expected.pop();
            }
            prop_assert_eq!(pieces(&text, Some(&separator), capacity), expected);
            prop_assert_eq!(pieces(&text, None, capacity).concat(), normal);
        }
    }
}
