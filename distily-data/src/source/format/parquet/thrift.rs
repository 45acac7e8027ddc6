//! The compact protocol of Thrift, in which parquet says what its files hold; read with bounds that the
//! library has not.

use parquet::errors::ParquetError;
use std::mem::discriminant;

/// Groups within groups, of a schema and of all that is passed over.
pub(super) const DEEPEST: usize = 64;

pub(super) fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// The kinds of values that parquet's metadata has.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    Binary,
    /// Of elements of a kind, or of whichever it says.
    List(Option<&'static Kind>),
    Struct(&'static [Field]),
}

/// The id of a field of a struct, and what it is.
pub(super) type Field = (i16, Kind);

impl Kind {
    fn of(number: u8) -> Result<Self, ParquetError> {
        Ok(match number {
            // True and false.
            1 | 2 => Kind::Bool,
            3 => Kind::I8,
            4 => Kind::I16,
            5 => Kind::I32,
            6 => Kind::I64,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 => Kind::List(None),
            12 => Kind::Struct(&[]),
            other => return Err(wrong(&format!("metadata of the kind {other}"))),
        })
    }

    /// This kind, which has to be the one that is known, if one is: the library reads what it knows whatever
    /// kind it says it is, and would go on elsewhere.
    fn known_as(self, known: Option<&Kind>) -> Result<Self, ParquetError> {
        match known {
            None => Ok(self),
            Some(known) if discriminant(known) == discriminant(&self) => Ok(*known),
            Some(_) => Err(wrong("metadata of the wrong kind")),
        }
    }
}

/// Bytes in the compact protocol of Thrift.
pub(super) struct Compact<'a>(pub(super) &'a [u8]);

impl<'a> Compact<'a> {
    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], ParquetError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = self.0.split_at_checked(count);
        let (taken, rest) = taken.ok_or_else(|| wrong("it ends too early"))?;
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

    /// How many or how long: a number of 32 bits that is no less than 0.
    pub(super) fn size(&mut self) -> Result<u64, ParquetError> {
        let zigzag = self.number()?;
        match zigzag % 2 == 0 && zigzag / 2 <= i32::MAX as u64 {
            true => Ok(zigzag / 2),
            false => Err(wrong("a size below 0, or of more than 32 bits")),
        }
    }

    /// The kind of the next field of a struct, whose id follows from the one before; `None` at its end.
    pub(super) fn field(
        &mut self,
        id: &mut i16,
        known: &[Field],
    ) -> Result<Option<Kind>, ParquetError> {
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
        let known = known.iter().find(|(known, _)| known == id);
        let kind = Kind::of(header & 0x0f)?.known_as(known.map(|(_, kind)| kind))?;
        Ok(Some(kind))
    }

    /// The kind of a list's elements, and how many there are: each takes a byte or more.
    pub(super) fn list(&mut self, known: Option<&Kind>) -> Result<(Kind, u64), ParquetError> {
        let header = self.byte()?;
        let elements = match header >> 4 {
            // Of whichever kind; some writers say none.
            0 => return Ok((Kind::Bool, 0)),
            15 => self.number()?,
            few => few.into(),
        };
        if elements > self.0.len() as u64 {
            return Err(wrong("a list of more elements than bytes"));
        }
        match Kind::of(header & 0x0f)?.known_as(known)? {
            // They take a byte, but none where the library passes over them.
            Kind::Bool => Err(wrong("a list of truths")),
            kind => Ok((kind, elements)),
        }
    }

    pub(super) fn pass(&mut self, kind: Kind, depth: usize) -> Result<(), ParquetError> {
        if depth > DEEPEST {
            return Err(wrong("metadata within metadata beyond all need"));
        }
        match kind {
            // Its kind says which.
            Kind::Bool => {}
            Kind::I8 => drop(self.byte()?),
            Kind::I16 | Kind::I32 | Kind::I64 => drop(self.number()?),
            Kind::Double => drop(self.take(8)?),
            Kind::Binary => {
                let bytes = self.number()?;
                self.take(bytes)?;
            }
            Kind::List(known) => {
                let (kind, elements) = self.list(known)?;
                (0..elements).try_for_each(|_| self.pass(kind, depth + 1))?;
            }
            Kind::Struct(known) => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id, known)? {
                    self.pass(kind, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_has_an_end() {
        const KNOWN: &[Field] = &[(1, Kind::I32), (2, Kind::List(Some(&Kind::Binary)))];
        let passed = |bytes: &[u8]| {
            let mut thrift = Compact(bytes);
            thrift.pass(Kind::Struct(KNOWN), 0)?;
            assert!(thrift.0.is_empty());
            Ok::<_, ParquetError>(())
        };
        // 1; two texts; and of what is not known: true, a list of two doubles, a struct of a byte.
        let known = [0x15, 0x02, 0x19, 0x28, 1, b'a', 0];
        let unknown = [&[0x11, 0x19, 0x27][..], &[0; 16], &[0x1c, 0x13, 7, 0]].concat();
        passed(&[&known[..], &unknown, &[0]].concat()).unwrap();
        passed(&[0x29, 0x00, 0]).unwrap();
        for (bytes, says) in [
            (&known[..4], "more elements than bytes"),
            (&known[..6], "too early"),
            (&[0x18, 0, 0][..], "wrong kind"),
            (&[0x29, 0x15, 2, 0], "wrong kind"),
            (&[0x39, 0x21, 1, 1, 0], "truths"),
            (&[0x3b, 0, 0], "the kind 11"),
            (&[0x05, 0x82, 0x80, 0x08, 2, 0], "more than 16 bits"),
            (
                &[
                    0x36, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                ],
                "64 bits",
            ),
            (&[0x3c; 100], "beyond all need"),
        ] {
            let problem = passed(bytes).unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
