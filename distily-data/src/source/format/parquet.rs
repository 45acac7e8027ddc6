use super::Rows;
use crate::DataError;
use crate::source::cell::Cell;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The rows of a file; only the columns are decoded, a page at a time.
pub(super) fn rows(path: &Path, columns: &[&str]) -> Result<Rows, DataError> {
    let reader = open(path)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let schema = schema.root_schema();
    let mut fields = Vec::new();
    for column in columns {
        let field = schema
            .get_fields()
            .iter()
            .find(|field| field.name() == *column);
        fields.push(field.cloned().ok_or_else(|| {
            DataError::Column {
                file: path.to_owned(),
                column: (*column).to_owned(),
                has: schema
                    .get_fields()
                    .iter()
                    .map(|field| field.name().to_owned())
                    .collect(),
            }
        })?);
    }
    let projected = caught(|| {
        let projection = Type::group_type_builder(schema.name())
            .with_fields(fields)
            .build()?;
        RowIter::from_file_into(Box::new(reader)).project(Some(projection))
    });
    let mut rows = projected.map_err(|problem| broken(path, &problem))?;
    Ok(Box::new(std::iter::from_fn(move || {
        let row = match caught(|| rows.next().transpose()) {
            Ok(row) => row?,
            Err(problem) => return Some(Err(damaged(&problem))),
        };
        let cells = row.into_columns().into_iter();
        Some(
            cells
                .map(|(name, field)| Ok((name, Cell::try_from(field)?)))
                .collect(),
        )
    })))
}

/// What the library says of a file. Some damage breaks its assertions: that is a panic, and an error
/// of the file's all the same.
fn caught<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    // Nothing is read of a file after an error.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("its parts contradict each other".to_owned()),
    }
}

/// How many rows the file says that it has.
pub(super) fn count(path: &Path) -> Result<u64, DataError> {
    let rows = open(path)?.metadata().file_metadata().num_rows();
    u64::try_from(rows).map_err(|_| broken(path, &format!("{rows} rows")))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    caught(|| SerializedFileReader::new(file)).map_err(|problem| broken(path, &problem))
}

fn broken(path: &Path, problem: &str) -> DataError {
    DataError::File {
        file: path.to_owned(),
        problem: format!("not a parquet file, {}", damaged(problem)),
    }
}

fn damaged(problem: &str) -> String {
    format!("damaged, or of a kind that can't be read ({problem}): get it again, or convert it")
}
