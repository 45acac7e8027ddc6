use super::fields::Fields;
use crate::{Architecture, ModelError, Rope, RopeScaling};
use serde_json::{Map, Value, json};

/// The rotary settings: `rope_theta`, `partial_rotary_factor` and `rope_scaling`, or transformers
/// 5's `rope_parameters`.
pub(super) fn read_rope(
    fields: &mut Fields<'_>,
    architecture: Architecture,
    positions: usize,
) -> Result<Rope, ModelError> {
    let theta: Option<f64> = fields.optional("rope_theta")?;
    let share: Option<f64> = fields.optional("partial_rotary_factor")?;
    let original: Option<usize> = fields.optional("original_max_position_embeddings")?;
    let old: Option<Map<String, Value>> = fields.optional("rope_scaling")?;
    let new: Option<Map<String, Value>> = fields.optional("rope_parameters")?;
    let (rest, prefix) = match (old, new) {
        (_, Some(new)) => (new, "rope_parameters."),
        (old, None) => (old.unwrap_or_default(), "rope_scaling."),
    };
    let mut scaling = Fields {
        origin: fields.origin,
        prefix,
        rest,
    };
    let theta = scaling.optional("rope_theta")?.or(theta);
    let turning_share = scaling
        .optional("partial_rotary_factor")?
        .or(share)
        .unwrap_or(1.0);
    // transformers turns a share of the head for Phi-3 alone, and ignores it elsewhere.
    if turning_share != 1.0 && architecture != Architecture::Phi3 {
        let problem = format!("got {turning_share}, expected none or 1");
        return Err(fields.error("partial_rotary_factor", problem));
    }
    let original = scaling
        .optional("original_max_position_embeddings")?
        .or(original);
    let original = |scaling: &Fields<'_>| {
        original.ok_or_else(|| scaling.error("original_max_position_embeddings", "missing"))
    };
    let old_name: Option<String> = scaling.optional("type")?;
    let kind: Option<String> = scaling.optional("rope_type")?;
    let scaled = match kind.or(old_name).as_deref() {
        None | Some("default") => None,
        Some("linear") => Some(RopeScaling::Linear {
            factor: scaling.required("factor")?,
        }),
        Some("llama3") => Some(RopeScaling::Llama3 {
            factor: scaling.required("factor")?,
            low_frequency_factor: scaling.required("low_freq_factor")?,
            high_frequency_factor: scaling.required("high_freq_factor")?,
            original_positions: original(&scaling)?,
        }),
        // Phi-3's first files say "su".
        Some("longrope" | "su") => {
            let original_positions = original(&scaling)?;
            let growth = match scaling.optional("factor")? {
                Some(factor) => factor,
                None => positions as f64 / original_positions as f64,
            };
            let paper = attention_factor(growth, original_positions);
            Some(RopeScaling::LongRope {
                short_factors: scaling.required("short_factor")?,
                long_factors: scaling.required("long_factor")?,
                original_positions,
                attention_factor: scaling.or("attention_factor", paper)?,
            })
        }
        Some(other) => {
            let problem = format!(
                "got \"{other}\", expected \"default\", \"linear\", \"llama3\" or \"longrope\""
            );
            return Err(scaling.error("rope_type", problem));
        }
    };
    scaling.finish(&[])?;
    Ok(Rope {
        theta: theta.unwrap_or(10_000.0),
        turning_share,
        scaling: scaled,
    })
}

/// LongRoPE's factor on queries and keys for a context that grew (Ding et al., 2402.13753).
fn attention_factor(growth: f64, original_positions: usize) -> f64 {
    if growth <= 1.0 {
        1.0
    } else {
        (1.0 + growth.ln() / (original_positions as f64).ln()).sqrt()
    }
}

/// `rope_scaling`, or null without one, of a model with so many positions.
pub(super) fn write_scaling(rope: &Rope, positions: usize) -> Value {
    match &rope.scaling {
        None => Value::Null,
        Some(RopeScaling::Linear { factor }) => json!({ "rope_type": "linear", "factor": factor }),
        Some(RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_positions,
        }) => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency_factor,
            "high_freq_factor": high_frequency_factor,
            "original_max_position_embeddings": original_positions,
        }),
        Some(RopeScaling::LongRope {
            short_factors,
            long_factors,
            original_positions,
            attention_factor: factor,
        }) => {
            // transformers 4 refuses a Phi-3 with more than these three; the original context stands
            // outside.
            let mut scaling = json!({
                "type": "longrope",
                "short_factor": short_factors,
                "long_factor": long_factors,
            });
            let growth = positions as f64 / *original_positions as f64;
            if *factor != attention_factor(growth, *original_positions) {
                scaling["attention_factor"] = json!(factor);
            }
            scaling
        }
    }
}
