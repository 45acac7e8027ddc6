//! Models from and to Hugging Face folders.

use crate::checkpoint::Checkpoint;
use crate::fill::{Parameter, collect, fill, transpose};
use crate::hugging_face::{Place, is_known_buffer, place, read_config, read_ends, write_config};
use crate::{Decoder, DecoderConfig, ModelError, Precision, StoredAs};
use burn::tensor::{Device, TensorData};
use distily_core::write_whole;
use safetensors::View;
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

impl DecoderConfig {
    /// Reads the `config.json` of a Hugging Face folder, and what its `generation_config.json` adds
    /// to the tokens that end a text.
    ///
    /// # Errors
    ///
    /// [`ModelError`], naming the file and the field.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let mut config = read_config(&folder.join("config.json"))?;
        for id in read_ends(&folder.join("generation_config.json"))? {
            if !config.end_of_text.contains(&id) {
                config.end_of_text.push(id);
            }
        }
        Ok(config)
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
        Self::read(folder, Precision::F32, device)
    }

    /// Reads a Hugging Face folder and keeps the weights in fewer bits: for a teacher that would not
    /// fit otherwise. It is not trained, so it is outside any autodiff device.
    ///
    /// # Errors
    ///
    /// [`ModelError`], naming the file and the field or the tensor.
    pub fn load_frozen(
        folder: &Path,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, ModelError> {
        Self::read(folder, precision, &device.clone().without_autodiff())
    }

    fn read(folder: &Path, precision: Precision, device: &Device) -> Result<Self, ModelError> {
        let config = DecoderConfig::load(folder)?;
        let origin = folder.join("config.json").display().to_string();
        let model = Self::unfilled(&config, &origin, device)?;
        let checkpoint = Checkpoint::open(folder)?;
        let places = collect(&model, |parameter, _| place(&config, parameter).tensor);
        // The files of a model without a head leave out the prefix that tells it from the head.
        let bare = !places.iter().any(|name| checkpoint.has(name));
        let in_file = |name: &str| match name.split_once('.') {
            Some((_, rest)) if bare && !name.starts_with("lm_head") => rest.to_owned(),
            _ => name.to_owned(),
        };
        let known = |name: &str| {
            places.iter().any(|known| in_file(known) == name) || is_known_buffer(&config, name)
        };
        if let Some(error) = checkpoint.unknown(known) {
            return Err(error);
        }
        fill(model, device, precision, |parameter: &Parameter<'_>| {
            let mut place = place(&config, parameter);
            place.tensor = in_file(&place.tensor);
            let values = place.read(&checkpoint)?;
            Ok(TensorData::new(values, parameter.shape.to_vec()))
        })
    }

    /// Writes a Hugging Face folder that transformers opens: `config.json` and
    /// `model.safetensors`, each whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`], [`ModelError::File`].
    pub fn save(&self, folder: &Path, stored_as: StoredAs) -> Result<(), ModelError> {
        let mut tensors: BTreeMap<String, Stored> = BTreeMap::new();
        collect(self, |parameter, value| {
            let place = place(self.config(), parameter);
            tensors
                .entry(place.tensor.clone())
                .or_insert_with(|| Stored::empty(&place, stored_as))
                .put(&place, value().iter::<f32>().collect());
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

impl Place {
    /// How a tensor lies around its outputs: runs, outputs in a run, and elements of an output in it.
    fn runs(&self) -> [usize; 3] {
        match self.shape.as_slice() {
            &[outputs, inputs] if self.transposed => [1, outputs, inputs],
            &[inputs, outputs] => [inputs, outputs, 1],
            shape => [1, shape.iter().product(), 1],
        }
    }

    /// The parameter's values as burn keeps them.
    fn read(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>, ModelError> {
        let [runs, all, per_output] = self.runs();
        let outputs = self.outputs.clone();
        if runs > 1 {
            let whole = checkpoint.read(&self.tensor, &self.shape, 0..runs)?;
            return Ok(match outputs.len() == all {
                true => whole,
                false => whole
                    .chunks_exact(all)
                    .flat_map(|run| &run[outputs.clone()])
                    .copied()
                    .collect(),
            });
        }
        let values = checkpoint.read(&self.tensor, &self.shape, outputs.clone())?;
        Ok(match self.transposed {
            true => transpose(&values, outputs.len(), per_output),
            false => values,
        })
    }
}

/// A tensor as its file holds it.
struct Stored {
    stored_as: StoredAs,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn empty(place: &Place, stored_as: StoredAs) -> Self {
        let elements: usize = place.shape.iter().product();
        Self {
            stored_as,
            shape: place.shape.clone(),
            bytes: vec![0; elements * stored_as.size()],
        }
    }

    /// Puts a parameter's values in their place.
    fn put(&mut self, place: &Place, values: Vec<f32>) {
        let [_, all, per_output] = place.runs();
        let outputs = place.outputs.clone();
        let values = match place.transposed {
            true => transpose(&values, per_output, outputs.len()),
            false => values,
        };
        let size = self.stored_as.size() * per_output;
        let range = outputs.start * size..outputs.end * size;
        let encoded = self.stored_as.encode(&values);
        for (run, values) in self
            .bytes
            .chunks_exact_mut(all * size)
            .zip(encoded.chunks_exact(range.len()))
        {
            run[range.clone()].copy_from_slice(values);
        }
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.stored_as.dtype()
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
