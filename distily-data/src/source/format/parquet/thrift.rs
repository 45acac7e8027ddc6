//! The compact protocol of Thrift, in which parquet says what its files hold; read with bounds that the
//! library has not.

use parquet::errors::ParquetError;

/// Groups within groups, of a schema and of all that is skipped.
pub(super) const DEEPEST: usize = 64;

pub(super) fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

pub(super) const BYTE: u8 = 3;
pub(super) const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const SET: u8 = 10;
pub(super) const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;
pub(super) const UUID: u8 = 13;

/// Bytes in the compact protocol of Thrift.
pub(super) struct Compact<'a>(pub(super) &'a [u8]);

impl Compact<'_> {
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
    pub(super) fn number(&mut self) -> Result<u64, ParquetError> {
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

    /// The kind of the next field, which has to be the one that is known of its id: the library reads what it
    /// knows whatever kind it says it is, and would go on elsewhere.
    pub(super) fn known_field(
        &mut self,
        id: &mut i16,
        known: &[(i16, u8)],
    ) -> Result<Option<u8>, ParquetError> {
        let kind = self.field(id)?;
        let expected = known.iter().find(|(known, _)| known == id);
        match (kind, expected) {
            (Some(kind), Some((_, expected))) if kind != *expected => {
                Err(wrong(&format!("the field {id} of the wrong kind, {kind}")))
            }
            _ => Ok(kind),
        }
    }

    /// The kind of the next field of a struct, whose id follows from the one before; `None` at its end.
    pub(super) fn field(&mut self, id: &mut i16) -> Result<Option<u8>, ParquetError> {
        let header = self.byte()?;
        if header == 0 {
            return Ok(None);
        }
        let next = match header >> 4 {
            0 => {
                let zigzag = self.number()?;
                i16::try_from((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)).ok()
            }
            more => id.checked_add(more.into()),
        };
        *id = next.ok_or_else(|| wrong("a field whose id has more than 16 bits"))?;
        Ok(Some(header & 0x0f))
    }

    /// The kind of a list's elements, and how many there are: each takes a byte or more.
    pub(super) fn list(&mut self) -> Result<(u8, u64), ParquetError> {
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

    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Result<(), ParquetError> {
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
