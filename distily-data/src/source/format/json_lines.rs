use super::{Records, Rows, unreadable};
use crate::source::cell::{Cell, Row};
use serde::de::DeserializeOwned;
use std::io::BufRead;

/// One object per line; empty lines are none.
pub(super) fn rows(bytes: Box<dyn BufRead>) -> Rows {
    lines(bytes, row)
}

/// [`rows`] of one type.
pub(super) fn records<T: DeserializeOwned + 'static>(bytes: Box<dyn BufRead>) -> Records<T> {
    lines(bytes, |text| {
        serde_json::from_str(text).map_err(|problem| problem.to_string())
    })
}

fn lines<T: 'static>(
    mut bytes: Box<dyn BufRead>,
    read: fn(&str) -> Result<T, String>,
) -> Records<T> {
    let mut line = Vec::new();
    Box::new(std::iter::from_fn(move || {
        loop {
            line.clear();
            match bytes.read_until(b'\n', &mut line) {
                Err(error) => return Some(Err(unreadable(&error))),
                Ok(0) => return None,
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => return Some(text(&line).and_then(read)),
            }
        }
    }))
}

fn text(line: &[u8]) -> Result<&str, String> {
    str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        format!("not UTF-8 at byte {at} of the line: convert the file")
    })
}

fn row(text: &str) -> Result<Row, String> {
    let expected = "expected one object per line, such as {\"text\": \"…\"}";
    match serde_json::from_str::<serde_json::Value>(text).map(Cell::from) {
        Ok(Cell::Record(row)) => Ok(row),
        Ok(other) => Err(format!("{}, {expected}", other.kind())),
        // A list that goes on in the next line: a file of JSON that is not JSON lines.
        Err(_) if text.trim_start().starts_with('[') => Err(format!(
            "a list, {expected}: convert the file, with `jq -c '.[]'` for one"
        )),
        Err(error) => Err(format!("no JSON ({error}), {expected}: mend the line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static [u8]) -> Vec<Result<Row, String>> {
        rows(Box::new(text)).collect()
    }

    #[test]
    fn an_object_is_a_row() {
        let rows = of(b"{\"text\": \"a\", \"n\": [1, null]}\r\n\n{\"text\": null}");
        let cells = vec![Cell::Other("a number"), Cell::Null];
        let mut first = rows[0].clone().unwrap();
        first.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(first[0], ("n".to_owned(), Cell::List(cells)));
        assert_eq!(first[1], ("text".to_owned(), Cell::Text("a".to_owned())));
        assert_eq!(rows[1], Ok(vec![("text".to_owned(), Cell::Null)]));
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn what_is_no_object_is_told() {
        for (text, problem) in [
            (b"[\n".as_slice(), "jq -c"),
            (b"[1]\n", "a list, expected one object"),
            (b"{\"text\": \n", "no JSON"),
            (b"{\"text\": \"\xff\"}", "not UTF-8 at byte 10"),
        ] {
            let error = of(text)[0].clone().unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
