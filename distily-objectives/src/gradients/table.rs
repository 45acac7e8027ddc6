use crate::GradientReport;
use std::fmt;
use std::iter::once;

/// A row for each layer group and one for the whole student; for each term its gradient's norm and
/// the cosine to the output terms' (`-` where there is none). No line break at the end.
impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.terms.first().map_or(&[][..], |term| &term.groups);
        let names = groups.iter().map(|group| group.group.clone());
        let names = once(String::new())
            .chain(names)
            .chain(once("all".to_owned()));
        let terms = self.terms.iter().map(|term| {
            let groups = term.groups.iter().map(|of| cell(of.norm, of.cosine));
            let all = once(cell(term.norm, term.cosine));
            once(term.term.clone()).chain(groups).chain(all).collect()
        });
        let columns: Vec<Vec<String>> = once(names.collect()).chain(terms).collect();
        for row in 0..columns[0].len() {
            for (at, column) in columns.iter().enumerate() {
                let lengths = column.iter().map(|cell| cell.chars().count());
                let width = lengths.max().unwrap_or_default();
                let cell = column.get(row).map_or("", String::as_str);
                match (row, at) {
                    (0, 0) => write!(f, "{cell:width$}")?,
                    (_, 0) => write!(f, "\n{cell:width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
        }
        Ok(())
    }
}

fn cell(norm: f64, cosine: Option<f64>) -> String {
    match cosine {
        Some(cosine) => format!("{norm:.2e} {cosine:+.2}"),
        None => format!("{norm:.2e}     -"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_group_has_a_row_and_every_term_a_column() {
        let expected = "
                    kl            ce        hidden
layers.0  3.00e0 +0.60  4.00e0 +0.80  1.00e1 -1.00
layers.1  2.00e0 +1.00  0.00e0     -  1.00e0 +0.00
all       3.61e0 +0.67  4.00e0 +0.74  1.00e1 -0.92
";
        let report = super::super::report::tests::report();
        assert_eq!(format!("\n{report}\n"), expected);
    }
}
