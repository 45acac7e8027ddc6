//! What the library believes of a file's metadata: it reserves as many children as a group claims, goes down
//! into groups by recursion, and passes over lists for as long as they claim to go on. Each may end the process,
//! or seem never to end, so they are looked at before.

use super::metadata::{FILE_METADATA, SCHEMA_ELEMENT};
use super::thrift::{Compact, DEEPEST, Kind, wrong};
use parquet::errors::ParquetError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Refuses a file whose metadata can't be what it claims. The file is left at its start.
pub(super) fn check_footer(file: &mut File) -> Result<(), ParquetError> {
    let footer = footer(file)?;
    file.rewind()?;
    let mut thrift = Compact(&footer);
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id, FILE_METADATA)? {
        match id {
            2 => thrift.schema()?,
            _ => thrift.pass(kind, 0)?,
        }
    }
    Ok(())
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

impl Compact<'_> {
    fn schema(&mut self) -> Result<(), ParquetError> {
        let (_, elements) = self.list(Some(&Kind::Struct(SCHEMA_ELEMENT)))?;
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
        while let Some(kind) = self.field(&mut id, SCHEMA_ELEMENT)? {
            match id {
                5 => children = self.size()?,
                _ => self.pass(kind, 0)?,
            }
        }
        Ok(children)
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
            (vec![u64::MAX >> 2], "more than 32 bits"),
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
