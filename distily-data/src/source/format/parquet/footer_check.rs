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

/// Bytes of the paths of all columns, which the library keeps, and those of a name beside its letters.
const MOST_PATHS: u64 = 1 << 28;
const OF_A_NAME: u64 = 32;

/// What counts of an element of a schema.
#[derive(Default)]
struct Element {
    /// Whether it has a type, as a column has.
    typed: bool,
    /// Bytes of its name.
    name: u64,
    children: u64,
}

impl Compact<'_> {
    fn schema(&mut self) -> Result<(), ParquetError> {
        let (_, elements) = self.list(Some(&Kind::Struct(SCHEMA_ELEMENT)))?;
        // Of each group that is open, the children that are still to come, and the bytes of its path.
        let mut open: Vec<(u64, u64)> = Vec::new();
        let mut paths = 0;
        for number in 0..elements {
            let element = self.element()?;
            let mut path = element.name + OF_A_NAME;
            if let Some((left, above)) = open.last_mut() {
                *left -= 1;
                path += *above;
            }
            paths += path;
            let children = element.children;
            if children > elements - number - 1 {
                return Err(wrong(
                    "a schema with a group of more children than it has elements",
                ));
            }
            if number > 0 && children == 0 && !element.typed {
                return Err(wrong("a schema with a group of no children"));
            }
            open.push((children, path));
            while let Some((0, _)) = open.last() {
                open.pop();
            }
            if open.len() > DEEPEST {
                return Err(wrong("a schema of groups within groups beyond all need"));
            }
            if paths > MOST_PATHS {
                return Err(wrong("a schema of names beyond all need"));
            }
        }
        Ok(())
    }

    fn element(&mut self) -> Result<Element, ParquetError> {
        let (mut id, mut element) = (0, Element::default());
        while let Some(kind) = self.field(&mut id, SCHEMA_ELEMENT)? {
            match id {
                4 => {
                    element.name = self.number()?;
                    self.take(element.name)?;
                }
                5 => element.children = self.size()?,
                _ => {
                    element.typed |= id == 1;
                    self.pass(kind, 0)?;
                }
            }
        }
        Ok(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schema of elements with so many children each, and names of so many bytes.
    fn checked(children: &[u64], name: usize) -> Result<(), ParquetError> {
        fn number(mut number: u64, bytes: &mut Vec<u8>) {
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        let mut bytes = vec![0xfc];
        number(children.len() as u64, &mut bytes);
        for &children in children {
            // The fields 1 and 4, or 4 and 5; and the end.
            match children {
                0 => bytes.extend([0x15, 0, 0x38]),
                _ => bytes.push(0x48),
            }
            number(name as u64, &mut bytes);
            bytes.resize(bytes.len() + name, b'x');
            if children > 0 {
                bytes.push(0x15);
                number(2 * children, &mut bytes);
            }
            bytes.push(0);
        }
        Compact(&bytes).schema()
    }

    #[test]
    fn a_schema_has_the_children_that_it_claims() {
        checked(&[2, 0, 1, 0], 3).unwrap();
        checked(&[], 3).unwrap();
        for (children, name, says) in [
            (vec![4, 0, 1, 0], 1, "more children"),
            (vec![u64::MAX >> 2], 1, "more than 32 bits"),
            ((0..200).map(|at| 199 - at).collect(), 1, "within groups"),
            ([vec![1; 199], vec![0]].concat(), 1, "within groups"),
            (
                [vec![50; 50], vec![0; 51]].concat(),
                1 << 17,
                "beyond all need",
            ),
        ] {
            let problem = checked(&children, name).unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
        // A root, and a group of nothing.
        let empty = [0x2c, 0x48, 0, 0x15, 2, 0, 0x48, 0, 0x15, 0, 0];
        let problem = Compact(&empty).schema().unwrap_err().to_string();
        assert!(problem.contains("no children"), "{problem}");
    }
}
