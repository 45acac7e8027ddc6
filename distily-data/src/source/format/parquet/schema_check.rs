//! What the library believes of a schema: it reserves as many children as a group claims, and goes down
//! into groups by recursion. Either may end the process, so both are looked at before.

use super::thrift::{BINARY, Compact, DEEPEST, I32, LIST, STRUCT, wrong};
use parquet::errors::ParquetError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The fields of `FileMetaData` up to the schema: a version, and the elements of the schema.
const FILE_METADATA: [(i16, u8); 2] = [(1, I32), (2, LIST)];

/// The fields of `SchemaElement`: type and its length, repetition, name, children, converted type, scale,
/// precision, id, logical type.
const SCHEMA_ELEMENT: [(i16, u8); 10] = [
    (1, I32),
    (2, I32),
    (3, I32),
    (4, BINARY),
    (5, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, STRUCT),
];

/// Refuses the footer of a file whose schema can't be what it claims. The file is left where it was found.
pub(super) fn check_schema(file: &mut File) -> Result<(), ParquetError> {
    let footer = footer(file)?;
    file.rewind()?;
    let mut thrift = Compact(&footer);
    let mut id = 0;
    while let Some(kind) = thrift.known_field(&mut id, &FILE_METADATA)? {
        match id {
            2 => return thrift.schema(),
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
        while let Some(kind) = self.known_field(&mut id, &SCHEMA_ELEMENT)? {
            match id {
                5 => {
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
    fn a_field_is_what_it_has_to_be() {
        for (element, says) in [
            // The field 5 as a number of 64 bits; and the id 65541, which has the last 16 bits of 5.
            (vec![0x56, 0x7e, 0], "wrong kind"),
            (vec![0x05, 0x8a, 0x80, 0x08, 0x7e, 0], "more than 16 bits"),
        ] {
            let bytes = [vec![0x1c], element].concat();
            let problem = Compact(&bytes).schema().unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
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
