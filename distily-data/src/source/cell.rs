use parquet::record::Field;
use serde_json::Value;

/// What a column holds in a row, whatever the file's format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    List(Vec<Cell>),
    Record(Row),
    /// What is never a part of a document.
    Other(&'static str),
}

/// The names and contents of columns.
pub(crate) type Row = Vec<(String, Cell)>;

impl Cell {
    /// Bytes as text; the error says where they are none.
    pub(crate) fn text(bytes: Vec<u8>) -> Result<Self, String> {
        String::from_utf8(bytes).map(Self::Text).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("not UTF-8 at byte {at} of the text: convert the file, or name one of text")
        })
    }

    /// As an error names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Record(_) => "a record",
            Self::Other(kind) => kind,
        }
    }
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Other("true or false"),
            Value::Number(_) => Self::Other("a number"),
            Value::String(text) => Self::Text(text),
            Value::Array(cells) => Self::List(cells.into_iter().map(Self::from).collect()),
            Value::Object(cells) => {
                let cells = cells.into_iter();
                Self::Record(cells.map(|(name, cell)| (name, cell.into())).collect())
            }
        }
    }
}

impl TryFrom<Field> for Cell {
    type Error = String;

    fn try_from(field: Field) -> Result<Self, String> {
        Ok(match field {
            Field::Null => Self::Null,
            Field::Str(text) => Self::Text(text),
            Field::Bytes(bytes) => return Self::text(bytes.data().to_vec()),
            Field::ListInternal(list) => {
                let cells = list.elements().iter().cloned();
                Self::List(cells.map(Self::try_from).collect::<Result<_, _>>()?)
            }
            Field::Group(row) => {
                let cells = row.into_columns().into_iter();
                let cells = cells.map(|(name, field)| Ok((name, field.try_into()?)));
                Self::Record(cells.collect::<Result<_, String>>()?)
            }
            Field::MapInternal(_) => Self::Other("a map"),
            Field::Bool(_) => Self::Other("true or false"),
            Field::Date(_)
            | Field::TimeMillis(_)
            | Field::TimeMicros(_)
            | Field::TimestampMillis(_)
            | Field::TimestampMicros(_) => Self::Other("a time"),
            _ => Self::Other("a number"),
        })
    }
}
