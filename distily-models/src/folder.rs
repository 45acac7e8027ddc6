//! Models from and to Hugging Face folders.

use crate::checkpoint::Checkpoint;
use crate::fill::{Parameter, collect, fill, transpose};
use crate::hugging_face::{read_config, write_config};
use crate::{Decoder, DecoderConfig, ModelError, StoredAs};
use burn::tensor::{Device, TensorData};
use distily_core::write_whole;
use safetensors::View;
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

impl DecoderConfig {
    /// Reads the `config.json` of a Hugging Face folder.
    ///
    /// # Errors
    ///
    /// [`ModelError`], naming the file and the field.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        read_config(&folder.join("config.json"))
    }
}

impl Decoder {
    /// Reads a Hugging Face folder: `config.json`, and `model.safetensors` or the shards of its
    /// index. Weights become f32, whatever they are stored as.
    ///
    /// ```no_run
    /// # use std::path::Path;
    /// # use burn::tensor::Device;
    /// let teacher = distily_models::Decoder::load(Path::new("SmolLM2-135M"), &Device::flex())?;
    /// # Ok::<(), distily_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ModelError`], naming the file and the field or the tensor.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = DecoderConfig::load(folder)?;
        let origin = folder.join("config.json").display().to_string();
        let model = Self::unfilled(&config, &origin, device)?;
        let checkpoint = Checkpoint::open(folder)?;
        let names = collect(&model, |parameter, _| file_name(parameter.path));
        // Older files hold the rotary frequencies, and some a copy of a tied head.
        let known = |name: &str| {
            names.iter().any(|known| known == name)
                || name.ends_with("rotary_emb.inv_freq")
                || (config.tied_head && name == "lm_head.weight")
        };
        if let Some(error) = checkpoint.unknown(known) {
            return Err(error);
        }
        fill(model, device, |parameter: &Parameter<'_>| {
            let name = file_name(parameter.path);
            let shape = parameter.shape.to_vec();
            let values = match (parameter.transposed, parameter.shape) {
                (true, &[inputs, outputs]) => {
                    let values = checkpoint.read(&name, &[outputs, inputs])?;
                    transpose(&values, outputs, inputs)
                }
                (_, shape) => checkpoint.read(&name, shape)?,
            };
            Ok(TensorData::new(values, shape))
        })
    }

    /// Writes a Hugging Face folder that transformers opens: `config.json` and
    /// `model.safetensors`, each whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`], [`ModelError::File`].
    pub fn save(&self, folder: &Path, stored_as: StoredAs) -> Result<(), ModelError> {
        let tensors = collect(self, |parameter, value| {
            let values = value();
            let name = file_name(parameter.path);
            (name, Stored::new(parameter, &values, stored_as))
        });
        let path = folder.join("model.safetensors");
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        write_whole(&path, |partial| {
            safetensors::serialize_to_file(tensors, Some(metadata), partial)
                .map_err(std::io::Error::other)
        })
        .map_err(ModelError::io(&path))?;
        let path = folder.join("config.json");
        let config = format!("{:#}\n", write_config(self.config(), stored_as));
        write_whole(&path, |partial| std::fs::write(partial, config)).map_err(ModelError::io(&path))
    }
}

/// The name of a parameter in a file.
fn file_name(path: &str) -> String {
    if path.starts_with("lm_head") {
        path.to_owned()
    } else {
        format!("model.{path}")
    }
}

/// A tensor as its file holds it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(parameter: &Parameter<'_>, values: &TensorData, stored_as: StoredAs) -> Self {
        let values: Vec<f32> = values.iter::<f32>().collect();
        let (shape, values) = match (parameter.transposed, parameter.shape) {
            (true, &[inputs, outputs]) => {
                (vec![outputs, inputs], transpose(&values, inputs, outputs))
            }
            (_, shape) => (shape.to_vec(), values),
        };
        Self {
            dtype: stored_as.dtype(),
            shape,
            bytes: stored_as.encode(&values),
        }
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
