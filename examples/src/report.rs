use crate::train::reading_speed;
use anyhow::Result;
use burn::module::Module;
use distily::core::{CausalLm, TokenBatch};
use distily::data::TokenRows;
use distily::eval::{agreement, perplexity};

/// What the table says of one model.
#[derive(Debug, Clone)]
pub struct Measured {
    parameters: usize,
    perplexity: f64,
    /// With the teacher, 0 to 1; the teacher's own is not measured.
    agreement: Option<f64>,
    tokens_per_second: f64,
}

/// Measures a model on held-out rows, and against its teacher if it has one.
///
/// # Errors
///
/// Where a model can't run the rows.
pub fn measure<M: CausalLm + 'static, T: CausalLm + 'static>(
    model: &M,
    teacher: Option<&T>,
    rows: &TokenRows,
) -> Result<Measured> {
    let batches: Vec<TokenBatch> = rows.in_order(4).collect::<Result<_, _>>()?;
    Ok(Measured {
        parameters: Module::num_params(model),
        perplexity: perplexity(model, batches.iter().cloned())?.perplexity(),
        agreement: teacher
            .map(|teacher| agreement(model, teacher, batches.iter().cloned()))
            .transpose()?
            .map(|agreement| agreement.share()),
        tokens_per_second: reading_speed(model, &batches[0])?,
    })
}

/// The table of teacher, if it was measured, and student; the sizes are those of their files, in bytes.
pub fn compare(
    teacher: Option<(&Measured, u64)>,
    before: &Measured,
    after: (&Measured, u64),
) -> String {
    let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    let megabytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    let row = |name: &str, cells: [String; 3]| {
        let [teacher, before, after] = cells;
        format!("{name:<20} {teacher:>14} {before:>14} {after:>14}\n")
    };
    let each = |cell: fn(&Measured) -> String| {
        let teacher = teacher.map(|(measured, _)| cell(measured));
        [or_none(teacher), cell(before), cell(after.0)]
    };
    let sizes = [
        or_none(teacher.map(|(_, bytes)| megabytes(bytes))),
        megabytes(after.1),
        megabytes(after.1),
    ];
    [
        row(
            "",
            ["teacher", "student before", "student after"].map(str::to_owned),
        ),
        row("parameters", each(|m| m.parameters.to_string())),
        row("file size", sizes),
        row("perplexity", each(|m| format!("{:.3}", m.perplexity))),
        row(
            "top-1 agreement",
            each(|m| {
                m.agreement
                    .map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
            }),
        ),
        row(
            "tokens per second",
            each(|m| format!("{:.0}", m.tokens_per_second)),
        ),
    ]
    .concat()
}
