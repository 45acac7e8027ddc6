use crate::plot::{Series, log_log};
use crate::{LAYERS, LENGTH, Measured, ROWS, STEPS, THREADS, VOCABULARY, WIDTH};
use distily_benches::{Cost, exponent, processor, slope};
use std::fmt::Write;

/// What is told of a cost.
type Figure = (&'static str, &'static str, fn(&Cost) -> f64);

const FIGURES: [Figure; 2] = [
    ("time", "milliseconds of a step", |cost| 1e3 * cost.seconds),
    ("memory", "peak of memory, MiB", |cost| {
        cost.peak as f64 / f64::from(1 << 20)
    }),
];

impl Measured {
    fn points(&self, costs: &[Cost], figure: fn(&Cost) -> f64) -> Vec<(f64, f64)> {
        let values = self.values.iter().map(|&value| value as f64);
        values.zip(costs.iter().map(figure)).collect()
    }

    /// Whether a power of the value can say how a cost grows with it.
    fn is_of_powers(&self) -> bool {
        !self.values.contains(&0)
    }
}

/// The plots of an axis with the names of their files.
pub(crate) fn plots(measured: &Measured) -> Vec<(String, String)> {
    if !measured.is_of_powers() {
        return Vec::new();
    }
    let plot = |(figure, title, of): (&str, &str, fn(&Cost) -> f64)| {
        // Memory hardly depends on the threads: two lines would hide each other.
        let hidden = if figure == "memory" {
            THREADS.len() - 1
        } else {
            0
        };
        let series = THREADS
            .iter()
            .zip(&measured.costs)
            .skip(hidden)
            .map(|(threads, costs)| Series {
                name: format!("{threads} thread{}", if *threads == 1 { "" } else { "s" }),
                points: measured.points(costs, of),
            });
        let svg = log_log(title, measured.axis.name, &series.collect::<Vec<_>>());
        (file(measured, figure), svg)
    };
    FIGURES.map(plot).into()
}

fn file(measured: &Measured, figure: &str) -> String {
    format!("scaling-{}-{figure}.svg", measured.axis.file)
}

pub(crate) fn page(all: &[Measured]) -> String {
    let mut page = format!(
        "# How cost grows

```sh
cargo build --release --workspace --examples
target/release/examples/scaling docs/results
```

{}. A training step (forward KL, f32, AdamW) from a teacher of {LAYERS} layers of width {WIDTH} to a student of half as many, both of
random weights. Where nothing else is said, a batch has {ROWS} rows of {LENGTH} tokens, the vocabulary {VOCABULARY} ids, and no layer is
tapped. Times are medians of {STEPS} steps, a first one not counted; the peak is that of the memory of another process, both models
loaded, whose allocator gives back at once what is freed: what two steps need at a time.

## Exponents

How a cost grows: with which power of what is varied, over the whole range and from the last value but one to the last. 1 is in
proportion.

| of | threads | time | time, at the end | memory | memory, at the end |
|---|---|---|---|---|---|
",
        processor(),
    );
    for measured in all.iter().filter(|measured| measured.is_of_powers()) {
        for (threads, costs) in THREADS.iter().zip(&measured.costs) {
            let exponents = FIGURES.map(|(_, _, of)| {
                let points = measured.points(costs, of);
                let end = &points[points.len() - 2..];
                format!("{:.2} | {:.2}", exponent(&points), exponent(end))
            });
            let _ = writeln!(
                page,
                "| {} | {threads} | {} |",
                measured.axis.name,
                exponents.join(" | ")
            );
        }
    }
    for measured in all {
        section(&mut page, measured);
    }
    page
}

/// The figures of an axis.
fn section(page: &mut String, measured: &Measured) {
    let name = measured.axis.name;
    let title = name[..1].to_uppercase() + &name[1..];
    let _ = write!(page, "\n## {title}\n\n");
    let [one, two] = &measured.costs;
    let _ = writeln!(
        page,
        "| {name} | 1 thread, ms | 2 threads, ms | speed-up | tokens/s | peak, MiB |"
    );
    page.push_str("|---|---|---|---|---|---|\n");
    let [(_, _, milliseconds), (_, _, mebibytes)] = FIGURES;
    for ((value, one), two) in measured.values.iter().zip(one).zip(two) {
        let _ = writeln!(
            page,
            "| {value} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} |",
            milliseconds(one),
            milliseconds(two),
            one.seconds / two.seconds,
            two.tokens as f64 / two.seconds,
            mebibytes(two),
        );
    }
    page.push('\n');
    if measured.is_of_powers() {
        for (figure, title, _) in FIGURES {
            let _ = writeln!(page, "![{title}]({})", file(measured, figure));
        }
    } else {
        let of = |figure| slope(&measured.points(two, figure));
        let _ = writeln!(
            page,
            "On 2 threads each costs {:.2} ms and {:.2} MiB, by a line through all.",
            of(milliseconds),
            of(mebibytes),
        );
    }
}
