use thiserror::Error;

/// Why a server does not teach.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A configuration that means nothing.
    #[error("`{field}`: got {got}, expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Nobody who answers: the server is down, or its address another.
    #[error(
        "no answer from {url} in {attempts} attempts ({problem}): is the server up, and this its address?"
    )]
    NoAnswer {
        /// What was asked.
        url: String,
        /// How often.
        attempts: usize,
        /// What went wrong the last time.
        problem: String,
    },
    /// A server that has trouble of its own, again and again.
    #[error("{url} answered {status} in each of {attempts} attempts{said}: see the server's log")]
    Failing {
        /// What was asked.
        url: String,
        /// The last HTTP status: 408, 429, or 500 and above.
        status: u16,
        /// How often.
        attempts: usize,
        /// What the server said, after a colon; or nothing.
        said: String,
    },
    /// A server that is not for everyone.
    #[error(
        "{url} answered {status}{said}: give the token that the server was started with (`--api-key`)"
    )]
    Token {
        /// What was asked.
        url: String,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// What the server said, after a colon; or nothing.
        said: String,
    },
    /// A model that is not on the server, or no such server.
    #[error(
        "{url} answered 404 for the model `{model}`{said}: name the model as the server's /v1/models does, and the server without /v1"
    )]
    NotFound {
        /// What was asked.
        url: String,
        /// The model.
        model: String,
        /// What the server said, after a colon; or nothing.
        said: String,
    },
    /// A request that the server does not take.
    #[error(
        "{url} answered {status}{said}: it may allow fewer `k` (`--max-logprobs`), shorter rows (`--max-model-len`), or have another vocabulary"
    )]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said, after a colon; or nothing.
        said: String,
    },
    /// An answer that is not vLLM's, or not to what was asked.
    #[error("the answer of {url} can't be used: {problem}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A model of another vocabulary than was said.
    #[error(
        "{url} answered with id {id}, but the teacher's vocabulary was said to be {vocabulary}: say the shape of the model that is served"
    )]
    Vocabulary {
        /// What was asked.
        url: String,
        /// The largest id.
        id: usize,
        /// What the shape says.
        vocabulary: usize,
    },
}
