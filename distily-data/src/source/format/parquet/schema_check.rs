//! What the library believes of a schema: it reserves as many children as a group claims, and goes down
//! into groups by recursion. Either may end the process, so both are looked at before.

use parquet::errors::ParquetError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Groups within groups, of a schema and of all that is skipped.
const DEEPEST: usize = 64;

/// Refuses the footer of a file whose schema can't be what it claims. The file is left where it was found.
pub(super) fn check_schema(file: &mut File) -> Result<(), ParquetError> {
    let footer = footer(file)?;
    file.rewind()?;
    let mut thrift = Compact(&footer);
    let mut id = 0;
    // `FileMetaData`: its field 2 are the elements of the schema.
    while let Some(kind) = thrift.field(&mut id)? {
        match (id, kind) {
            (2, LIST) => return thrift.schema(),
            _ => thrift.skip(kind, 0)?,
        }
    }
    Err(wrong("no schema"))
}

/// The metadata at the end of a file: its bytes, their number and four letters.
fn footer(file: &mut File) -> Result<Vec<u8>, ParquetError> {
    let length = file.metadata()?.len();
    let Some(end) = length.checked_sub(8) else {
        return Err(wrong("a file of fewer than 8 bytes"));
    };
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut bytes)?;
    let footer = u64::from(u32::from_le_bytes(bytes));
    let start = end.checked_sub(footer);
    let start = start.ok_or_else(|| wrong("metadata longer than the file"))?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; footer as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Bytes in the compact protocol of Thrift.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    fn schema(&mut self) -> Result<(), ParquetError> {
        let (kind, elements) = self.list()?;
        if kind != STRUCT {
            return Err(wrong("a schema that is no list of elements"));
        }
        // The children that are still to come of each group that is open.
        let mut open: Vec<u64> = Vec::new();
        for element in 0..elements {
            let children = self.children()?;
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > elements - element - 1 {
                return Err(wrong(
                    "a schema with a group of more children than it has elements",
                ));
            }
            open.push(children);
            while open.last() == Some(&0) {
                open.pop();
            }
            if open.len() > DEEPEST {
                return Err(wrong("a schema of groups within groups beyond all need"));
            }
        }
        Ok(())
    }

    /// An element of the schema, by what its field 5 says.
    fn children(&mut self) -> Result<u64, ParquetError> {
        let (mut id, mut children) = (0, 0);
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (5, I32) => {
                    let zigzag = self.number()?;
                    if zigzag % 2 == 1 {
                        return Err(wrong("a group of fewer than no children"));
                    }
                    children = zigzag / 2;
                }
                _ => self.skip(kind, 0)?,
            }
        }
        Ok(children)
    }

    fn take(&mut self, count: u64) -> Result<&[u8], ParquetError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = self.0.split_at_checked(count);
        let (taken, rest) = taken.ok_or_else(|| wrong("metadata that ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ParquetError> {
        Ok(self.take(1)?[0])
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64, ParquetError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(wrong("a number of more than 64 bits"))
    }

    /// The kind of the next field of a struct, whose id follows from the one before; `None` at its end.
    fn field(&mut self, id: &mut i64) -> Result<Option<u8>, ParquetError> {
        let header = self.byte()?;
        if header == 0 {
            return Ok(None);
        }
        *id = match header >> 4 {
            0 => {
                let zigzag = self.number()?;
                (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
            }
            more => id.wrapping_add(more.into()),
        };
        Ok(Some(header & 0x0f))
    }

    /// The kind of a list's elements, and how many there are: each takes a byte or more.
    fn list(&mut self) -> Result<(u8, u64), ParquetError> {
        let header = self.byte()?;
        let elements = match header >> 4 {
            15 => self.number()?,
            few => few.into(),
        };
        match elements <= self.0.len() as u64 {
            true => Ok((header & 0x0f, elements)),
            false => Err(wrong("a list of more elements than bytes")),
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), ParquetError> {
        if depth > DEEPEST {
            return Err(wrong("metadata within metadata beyond all need"));
        }
        match kind {
            // True and false.
            1 | 2 => {}
            BYTE => drop(self.byte()?),
            I16 | I32 | I64 => drop(self.number()?),
            DOUBLE => drop(self.take(8)?),
            UUID => drop(self.take(16)?),
            BINARY => {
                let bytes = self.number()?;
                self.take(bytes)?;
            }
            LIST | SET => {
                let (kind, elements) = self.list()?;
                (0..elements).try_for_each(|_| self.skip_element(kind, depth))?;
            }
            MAP => {
                let pairs = self.number()?;
                let kinds = if pairs > 0 { self.byte()? } else { 0 };
                for _ in 0..pairs {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)?;
                }
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            other => return Err(wrong(&format!("metadata of the kind {other}"))),
        }
        Ok(())
    }

    /// In a list, true and false take a byte.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), ParquetError> {
        match kind {
            1 | 2 => self.byte().map(drop),
            _ => self.skip(kind, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schema of elements with so many children each, and nothing else.
    fn checked(children: &[u64]) -> Result<(), ParquetError> {
        let mut bytes = vec![0xfc];
        let mut number = |mut number: u64| {
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        };
        number(children.len() as u64);
        for &children in children {
            // The field 5, of 32 bits; and the end.
            number(0x55);
            number(2 * children);
            number(0);
        }
        Compact(&bytes).schema()
    }

    #[test]
    fn a_schema_has_the_children_that_it_claims() {
        checked(&[2, 0, 1, 0]).unwrap();
        checked(&[]).unwrap();
        for (children, says) in [
            (vec![4, 0, 1, 0], "more children"),
            (vec![u64::MAX >> 2], "more children"),
            ((0..200).map(|at| 199 - at).collect(), "within groups"),
            (
                vec![1; 199].into_iter().chain([0]).collect(),
                "within groups",
            ),
        ] {
            let problem = checked(&children).unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
