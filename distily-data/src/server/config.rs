use super::request::Client;
use super::{ServerError, ServerTeacher};
use burn::tensor::Device;
use distily_core::ModelShape;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A server that speaks as vLLM does, as a config file names it.
///
/// ```no_run
/// use burn::tensor::Device;
/// use distily_core::ModelShape;
/// use distily_data::{Recorder, RecordingConfig, ServerConfig, TokenRows};
///
/// # fn record(rows: &TokenRows, config: RecordingConfig) -> Result<(), Box<dyn std::error::Error>> {
/// // vllm serve Qwen/Qwen3-8B --max-logprobs 64 --no-enable-prefix-caching
/// let server = ServerConfig {
///     k: 64,
///     ..ServerConfig::new("http://localhost:8000", "Qwen/Qwen3-8B")
/// };
/// let shape = ModelShape { vocabulary: 151_936, ..ModelShape::default() };
/// let token = std::env::var("VLLM_API_KEY").ok();
/// let teacher = server.teacher(token.as_deref(), shape, &Device::flex())?;
///
/// // Goes on where it stood, should it have been interrupted. 32 rows are a request.
/// Recorder::open("recording", config)?.record(&teacher, rows, 32)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// `http://host:port`, without `/v1`.
    pub address: String,
    /// The model's name on the server.
    pub model: String,
    /// How many of the likeliest ids to ask for; a server allows 20 unless it is started with
    /// `--max-logprobs`.
    #[serde(default = "k")]
    pub k: usize,
    /// How often a request is made at most, where the server is not there, too busy or breaks off.
    #[serde(default = "attempts")]
    pub attempts: usize,
    /// Seconds before the second attempt; twice as many before each further one.
    #[serde(default = "wait")]
    pub wait: f64,
    /// Seconds after which a request is given up.
    #[serde(default = "timeout")]
    pub timeout: f64,
}

fn k() -> usize {
    20
}

fn attempts() -> usize {
    8
}

fn wait() -> f64 {
    0.5
}

fn timeout() -> f64 {
    600.0
}

/// Bytes of an answer for each id, its text among them, and for all else: more is none that was asked for.
const ID_BYTES: usize = 512;
const OTHER_BYTES: usize = 1 << 20;

impl ServerConfig {
    /// 20 ids of a model.
    pub fn new(address: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            model: model.into(),
            k: k(),
            attempts: attempts(),
            wait: wait(),
            timeout: timeout(),
        }
    }

    /// The teacher behind the server, with the sizes of the model; `token` is what the server asks for, if
    /// it was started with an API key. The server is asked when the teacher is.
    ///
    /// # Errors
    ///
    /// [`ServerError::Config`].
    pub fn teacher(
        &self,
        token: Option<&str>,
        shape: ModelShape,
        device: &Device,
    ) -> Result<ServerTeacher, ServerError> {
        let config = |field, got: String, expected| ServerError::Config {
            field,
            got,
            expected,
        };
        // A recording counts the ids of a token in 16 bits.
        if !(1..=65_535).contains(&self.k) {
            return Err(config("k", self.k.to_string(), "1 to 65535"));
        }
        if self.attempts == 0 {
            return Err(config("attempts", self.attempts.to_string(), "1 or more"));
        }
        let seconds = |field, seconds: f64| {
            let duration = Duration::try_from_secs_f64(seconds).ok();
            let of = duration.filter(|duration| duration.as_secs() < 1 << 32);
            of.ok_or_else(|| config(field, seconds.to_string(), "seconds, 0 or more"))
        };
        let (wait, timeout) = (
            seconds("wait", self.wait)?,
            seconds("timeout", self.timeout)?,
        );
        Ok(ServerTeacher {
            client: Arc::new(Client::new(self, token, wait, timeout)?),
            config: self.clone(),
            shape,
            device: device.clone().without_autodiff(),
        })
    }

    /// The most bytes that an answer to so many tokens may have.
    pub(super) fn answer_bytes(&self, tokens: usize) -> u64 {
        let ids = tokens.saturating_mul(self.k.saturating_add(1));
        ids.saturating_mul(ID_BYTES).saturating_add(OTHER_BYTES) as u64
    }
}
