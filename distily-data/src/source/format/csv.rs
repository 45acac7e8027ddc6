use super::{Rows, unreadable};
use crate::DataError;
use crate::source::cell::Cell;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use std::io::BufRead;
use std::path::Path;

/// A table whose first line names the columns. Cells are texts: an empty one is an empty text.
pub(super) fn rows(path: &Path, bytes: Box<dyn BufRead>, delimiter: u8) -> Result<Rows, DataError> {
    let broken = |problem| DataError::File {
        file: path.to_owned(),
        problem,
    };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(bytes);
    let header = reader.headers().map_err(|error| broken(explained(error)))?;
    let header: Vec<String> = header.iter().map(str::to_owned).collect();
    let mut record = ByteRecord::new();
    Ok(Box::new(std::iter::from_fn(move || {
        match reader.read_byte_record(&mut record) {
            Err(error) => return Some(Err(explained(error))),
            Ok(false) => return None,
            Ok(true) => {}
        }
        let cells = header.iter().zip(&record);
        let cells = cells.map(|(name, cell)| Ok((name.clone(), Cell::text(cell.to_vec())?)));
        Some(cells.collect())
    })))
}

fn explained(error: csv::Error) -> String {
    match error.kind() {
        ErrorKind::Io(error) => unreadable(error),
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!(
            "has {len} cells, expected {expected_len}: quote cells that hold the delimiter or line ends"
        ),
        _ => format!("{error}: mend the table"),
    }
}
