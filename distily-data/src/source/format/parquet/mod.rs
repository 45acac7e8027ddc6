mod checked;
mod footer_check;
mod metadata;
mod page_check;
mod thrift;

use super::{Records, Rows};
use crate::DataError;
use crate::source::cell::Cell;
use checked::CheckedFile;
use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::record::{Field, Row};
use parquet::schema::types::TypePtr;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The rows of a file; only the columns are decoded, a page at a time.
pub(super) fn rows(path: &Path, columns: &[&str]) -> Result<Rows, DataError> {
    let reader = open(path)?;
    let mut fields = Vec::new();
    for column in columns {
        let field = field(&reader, column);
        fields.push(field.ok_or_else(|| no_column(path, &reader, column))?);
    }
    projected(path, reader, fields, |row| {
        let cells = row.into_columns().into_iter();
        cells
            .map(|(name, field)| Ok((name, Cell::try_from(field)?)))
            .collect()
    })
}

/// The rows of a file as values of a type that reads some of the columns, if they are there.
pub(super) fn records<T: DeserializeOwned + 'static>(
    path: &Path,
    columns: &[&str],
) -> Result<Records<T>, DataError> {
    let reader = open(path)?;
    let fields = columns.iter().filter_map(|column| field(&reader, column));
    let fields: Vec<TypePtr> = fields.collect();
    if fields.is_empty() {
        return Err(no_column(path, &reader, columns[0]));
    }
    projected(path, reader, fields, |row| {
        let fields = row.into_columns().into_iter();
        let values = fields.map(|(name, field)| Ok((name, value(field)?)));
        let object = values.collect::<Result<_, String>>().map(Value::Object)?;
        serde_json::from_value(object).map_err(|problem| problem.to_string())
    })
}

fn projected<T: 'static>(
    path: &Path,
    reader: CheckedFile,
    fields: Vec<TypePtr>,
    read: fn(Row) -> Result<T, String>,
) -> Result<Records<T>, DataError> {
    let projected = caught(|| reader.rows(fields));
    let mut rows = projected.map_err(|problem| broken(path, &problem))?;
    Ok(Box::new(std::iter::from_fn(move || {
        match caught(|| rows.next().transpose()) {
            Ok(row) => row.map(read),
            Err(problem) => Some(Err(damaged(&problem))),
        }
    })))
}

fn field(reader: &CheckedFile, column: &str) -> Option<TypePtr> {
    let schema = reader.metadata().file_metadata().schema();
    let mut fields = schema.get_fields().iter();
    fields.find(|field| field.name() == column).cloned()
}

fn no_column(path: &Path, reader: &CheckedFile, column: &str) -> DataError {
    let fields = reader.metadata().file_metadata().schema().get_fields();
    DataError::Column {
        file: path.to_owned(),
        column: column.to_owned(),
        has: fields.iter().map(|field| field.name().to_owned()).collect(),
    }
}

/// As JSON says it: the logarithm of 0 is null.
fn value(field: Field) -> Result<Value, String> {
    let float = |x: f64| match Number::from_f64(x) {
        Some(number) => Ok(Value::Number(number)),
        None if x == f64::NEG_INFINITY => Ok(Value::Null),
        None => Err(format!("a value is {x}, which is no number")),
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(x) => x.into(),
        Field::Byte(x) => x.into(),
        Field::Short(x) => x.into(),
        Field::Int(x) => x.into(),
        Field::Long(x) => x.into(),
        Field::UByte(x) => x.into(),
        Field::UShort(x) => x.into(),
        Field::UInt(x) => x.into(),
        Field::ULong(x) => x.into(),
        Field::Float16(x) => float(x.to_f64())?,
        Field::Float(x) => float(x.into())?,
        Field::Double(x) => float(x)?,
        Field::Str(text) => text.into(),
        Field::ListInternal(list) => {
            let fields = list.elements().iter().cloned();
            fields.map(value).collect::<Result<_, _>>()?
        }
        Field::Group(row) => {
            let fields = row.into_columns().into_iter();
            let values = fields.map(|(name, field)| Ok((name, value(field)?)));
            Value::Object(values.collect::<Result<_, String>>()?)
        }
        other => return Err(format!("a column holds {other}, which can't be read")),
    })
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
    let reader = open(path)?;
    let rows = reader.metadata().file_metadata().num_rows();
    let mut groups = reader.metadata().row_groups().iter();
    let sum = groups.try_fold(0i64, |sum, group| sum.checked_add(group.num_rows()));
    let sound = u64::try_from(rows).ok().filter(|_| sum == Some(rows));
    sound.ok_or_else(|| broken(path, &format!("{rows} rows, but {sum:?} in its groups")))
}

fn open(path: &Path) -> Result<CheckedFile, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let opened = caught(|| CheckedFile::open(file));
    opened.map_err(|problem| broken(path, &problem))
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
