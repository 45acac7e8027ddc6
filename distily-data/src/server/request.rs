//! Requests that are made again where that may help.

use super::{ServerConfig, ServerError};
use reqwest::StatusCode;
use reqwest::blocking;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use std::io::Read;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Client {
    http: blocking::Client,
    url: String,
    model: String,
    attempts: usize,
    wait: Duration,
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Passing(ServerError),
    Lasting(ServerError),
}

/// Characters of what a server said that an error repeats.
const SAID: usize = 300;

impl Client {
    pub(super) fn new(
        config: &ServerConfig,
        token: Option<&str>,
        wait: Duration,
        timeout: Duration,
    ) -> Result<Self, ServerError> {
        let problem = |field, got: String, expected| ServerError::Config {
            field,
            got,
            expected,
        };
        let address = config.address.trim_end_matches('/');
        let url = reqwest::Url::parse(address).ok();
        if !url.is_some_and(|url| ["http", "https"].contains(&url.scheme())) {
            let expected = "an address such as http://localhost:8000";
            return Err(problem("address", config.address.clone(), expected));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
            let expected = "characters that a header may have";
            let mut bearer =
                bearer.map_err(|_| problem("token", "another".to_owned(), expected))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let http = blocking::Client::builder()
            .user_agent(concat!("distily/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout)
            .build();
        let url = format!("{address}/v1/completions");
        Ok(Self {
            http: http.map_err(|error| ServerError::NoAnswer {
                url: url.clone(),
                attempts: 0,
                problem: chain(&error),
            })?,
            url,
            model: config.model.clone(),
            attempts: config.attempts,
            wait,
        })
    }

    /// The answer to a question, of at most so many bytes.
    pub(super) fn post(&self, question: &Value, most: u64) -> Result<Vec<u8>, ServerError> {
        let body = question.to_string();
        let mut wait = self.wait;
        for attempt in 1.. {
            match self.attempt(&body, most, attempt) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Passing(problem)) if attempt < self.attempts => {
                    tracing::warn!(%problem, ?wait, "asking again");
                    std::thread::sleep(wait);
                    wait *= 2;
                }
                Err(Failure::Passing(problem) | Failure::Lasting(problem)) => return Err(problem),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&self, body: &str, most: u64, attempts: usize) -> Result<Vec<u8>, Failure> {
        let no_answer = |problem: String| {
            let url = self.url.clone();
            Failure::Passing(ServerError::NoAnswer {
                url,
                attempts,
                problem,
            })
        };
        let request = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json");
        let answer = request.body(body.to_owned()).send();
        let answer = answer.map_err(|error| no_answer(chain(&error)))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        let read = answer.take(most + 1).read_to_end(&mut bytes);
        if !status.is_success() {
            return Err(self.refusal(status, &bytes, attempts));
        }
        read.map_err(|error| no_answer(chain(&error)))?;
        if bytes.len() as u64 > most {
            let problem = format!("more than the {most} bytes that are to be expected");
            return Err(Failure::Lasting(self.wrong_answer(problem)));
        }
        Ok(bytes)
    }

    fn refusal(&self, status: StatusCode, body: &[u8], attempts: usize) -> Failure {
        let (url, said) = (self.url.clone(), said(body));
        let code = status.as_u16();
        Failure::Lasting(match code {
            408 | 429 | 500.. => {
                return Failure::Passing(ServerError::Failing {
                    url,
                    status: code,
                    attempts,
                    said,
                });
            }
            401 | 403 => ServerError::Token {
                url,
                status: code,
                said,
            },
            404 => ServerError::NotFound {
                url,
                model: self.model.clone(),
                said,
            },
            _ => ServerError::Refused {
                url,
                status: code,
                said,
            },
        })
    }

    pub(super) fn wrong_answer(&self, problem: String) -> ServerError {
        let url = self.url.clone();
        ServerError::Answer { url, problem }
    }

    pub(super) fn other_vocabulary(&self, id: usize, vocabulary: usize) -> ServerError {
        ServerError::Vocabulary {
            url: self.url.clone(),
            id,
            vocabulary,
        }
    }
}

/// The message of an answer that is an error, after a colon; or how the answer begins.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = json["error"]["message"]
        .as_str()
        .or(json["message"].as_str());
    let said: String = message.unwrap_or(&text).trim().chars().take(SAID).collect();
    match said.is_empty() {
        true => said,
        false => format!(": {said}"),
    }
}

/// What an error says, and what it is because of: the last is what tells.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
