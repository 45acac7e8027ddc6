//! A teacher behind a server is recorded as it answers, through whatever befalls the server on the
//! way; and what can't be mended is an error of its own.
#![allow(clippy::unwrap_used)]

mod sparse_answer;

use burn::tensor::Device;
use distily_core::{Feature, ForwardError, ModelShape, Taps, Teacher, TokenBatch};
use distily_data::{
    Codec, ContentHash, Packing, Provenance, Recorder, Recording, RecordingConfig, RecordingError,
    ServerConfig, ServerError, ServerTeacher, TokenRows, Tokens,
};
use serde_json::{Value, json};
use sparse_answer::{SparseAnswer, all};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

const VOCABULARY: u32 = 40;
const TOKEN: &str = "secret";

/// What befalls a request.
#[derive(Debug, Clone)]
enum Fate {
    /// The answer of the model.
    Answered,
    /// Another status, and what is said.
    Refused(u16, &'static str),
    /// The connection ends in the middle of the answer.
    BrokenOff,
    /// The connection ends before it.
    HungUp,
    /// Another answer.
    Other(Value),
}

/// What was asked, and what comes of the next requests; then all are answered.
#[derive(Debug, Default)]
struct State {
    fates: Vec<Fate>,
    asked: Vec<Value>,
    heads: Vec<String>,
    gone: bool,
}

/// A server of one model, on this machine; it is gone when it is dropped.
struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(fates: &[Fate]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            fates: fates.to_vec(),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().gone {
                    return;
                }
                // A client may hang up.
                answer(&stream.unwrap(), &shared).ok();
            }
        });
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    fn config(&self) -> ServerConfig {
        ServerConfig {
            k: 3,
            attempts: 3,
            wait: 0.001,
            timeout: 20.0,
            ..ServerConfig::new(format!("http://{}/", self.address), "formula")
        }
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread sees it when it is asked once more.
        self.state.lock().unwrap().gone = true;
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
            length = bytes.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let question: Value = serde_json::from_slice(&body).unwrap_or_default();
    let fate = {
        let mut state = state.lock().unwrap();
        state.asked.push(question.clone());
        state.heads.push(head);
        match state.fates.is_empty() {
            true => Fate::Answered,
            false => state.fates.remove(0),
        }
    };
    let (status, body) = match fate {
        Fate::Answered => (200, completion(&question).to_string()),
        Fate::Other(answer) => (200, answer.to_string()),
        Fate::Refused(status, said) => (status, said.to_owned()),
        Fate::BrokenOff => {
            let body = completion(&question).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut stream = stream;
            return stream.write_all((head + &body[..body.len() / 2]).as_bytes());
        }
        Fate::HungUp => return Ok(()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} as it is\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut stream = stream;
    stream.write_all((head + &body).as_bytes())
}

/// The model's log-probability of an id after a token: geometric, from an id that the token names.
fn log(after: u32, id: u32) -> f64 {
    let rank = (id + VOCABULARY - after * 7 % VOCABULARY) % VOCABULARY;
    f64::from(rank + 1) * 0.5f64.ln()
}

/// The id of a rank, counted from 0, after a token.
fn ranked(after: u32, rank: u32) -> u32 {
    (after * 7 % VOCABULARY + rank) % VOCABULARY
}

/// As vLLM answers, with the choices in no order.
fn completion(question: &Value) -> Value {
    let k = question["prompt_logprobs"].as_u64().unwrap() as u32;
    let prompts: Vec<Vec<u32>> = serde_json::from_value(question["prompt"].clone()).unwrap();
    let of_prompt = |prompt: &Vec<u32>| {
        let mut logprobs = vec![Value::Null];
        for two in prompt.windows(2) {
            let own = (two[1] + VOCABULARY - ranked(two[0], 0)) % VOCABULARY;
            let ranks = (0..k).chain((own >= k).then_some(own));
            let entries = ranks.map(|rank| {
                let id = ranked(two[0], rank);
                let entry =
                    json!({ "logprob": log(two[0], id), "rank": rank + 1, "decoded_token": "x" });
                (id.to_string(), entry)
            });
            logprobs.push(Value::Object(entries.collect()));
        }
        logprobs
    };
    let choices = prompts.iter().enumerate().rev();
    let choices: Vec<Value> = choices
        .map(|(index, prompt)| {
            json!({ "index": index, "text": "x", "logprobs": null, "finish_reason": "length",
                "prompt_logprobs": of_prompt(prompt), "prompt_token_ids": null })
        })
        .collect();
    json!({ "id": "cmpl-1", "object": "text_completion", "model": "formula", "choices": choices })
}

fn shape() -> ModelShape {
    ModelShape {
        vocabulary: VOCABULARY as usize,
        ..ModelShape::default()
    }
}

fn teacher(config: &ServerConfig) -> ServerTeacher {
    config
        .teacher(Some(TOKEN), shape(), &Device::flex())
        .unwrap()
}

/// Documents of 1 to 7 tokens, several in a row.
fn rows() -> TokenRows {
    let documents: Vec<Vec<u32>> = (0..30)
        .map(|d| {
            (0..1 + d % 7)
                .map(|t| (d * 11 + t * t) % VOCABULARY)
                .collect()
        })
        .collect();
    TokenRows::pack(Tokens::new(&documents).unwrap(), Packing::BestFit, 8).unwrap()
}

fn config(rows: &TokenRows) -> RecordingConfig {
    RecordingConfig {
        provenance: Provenance {
            teacher: ContentHash::of("test", ["formula"]),
            tokenizer: ContentHash::of("test", ["tokenizer"]),
            data: rows.key(),
            temperature: 1.0,
        },
        shape: shape(),
        codec: Codec::TopK { k: 3, p: 1.0 },
        hidden_layers: vec![],
    }
}

fn record(server: &Server, folder: &Path, rows: &TokenRows) -> Result<(), RecordingError> {
    Recorder::open(folder, config(rows))?.record(&teacher(&server.config()), rows, 2)
}

/// Compares what a teacher answers with the model.
fn compare(teacher: &dyn Teacher, batch: &TokenBatch) {
    let SparseAnswer {
        k,
        ids,
        probabilities: p,
        tail,
    } = SparseAnswer::of(teacher, batch);
    let segments = batch.segments().ids();
    let length = batch.shape()[1];
    for (at, &id) in batch.id_rows().flatten().enumerate() {
        if segments[at] == 0 {
            continue;
        }
        let last = (at + 1) % length == 0 || segments[at + 1] != segments[at];
        if last {
            assert_eq!(tail[at], 1.0);
            assert!(p[at * k..][..k].iter().all(|p| *p == 0.0));
            continue;
        }
        for rank in 0..3 {
            assert_eq!(ids[at * k + rank], i64::from(ranked(id, rank as u32)));
            let expected = 0.5f32.powi(rank as i32 + 1);
            assert!((p[at * k + rank] - expected).abs() < 1e-3);
        }
        let mass: f32 = p[at * k..][..k].iter().sum();
        assert!((mass + tail[at] - 1.0).abs() < 1e-3);
    }
}

#[test]
fn a_server_teaches_and_is_recorded() {
    let (server, folder, rows) = (Server::new(&[]), tempfile::tempdir().unwrap(), rows());
    compare(&teacher(&server.config()), &all(&rows));
    record(&server, folder.path(), &rows).unwrap();
    let provenance = config(&rows).provenance;
    let recording = Recording::open(folder.path(), &provenance, &Device::flex()).unwrap();
    recording.verify().unwrap();
    compare(&recording, &all(&rows));

    let state = server.state.lock().unwrap();
    assert_eq!(state.asked.len(), 1 + rows.len().div_ceil(2));
    let head = state.heads[0].to_lowercase();
    assert!(head.starts_with("post /v1/completions http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer secret"), "{head}");
    let question = &state.asked[0];
    for (field, expected) in [
        ("model", json!("formula")),
        ("max_tokens", json!(1)),
        ("prompt_logprobs", json!(3)),
    ] {
        assert_eq!(question[field], expected);
    }
    // A prompt for each document that has something to predict.
    let prompts = question["prompt"].as_array().unwrap();
    assert!(
        prompts
            .iter()
            .all(|prompt| prompt.as_array().unwrap().len() > 1)
    );
    assert!(prompts.len() > rows.len());
}

#[test]
fn a_server_is_recorded_at_its_own_temperature() {
    let (server, folder, rows) = (Server::new(&[]), tempfile::tempdir().unwrap(), rows());
    let mut config = config(&rows);
    config.provenance.temperature = 2.0;
    let mut recorder = Recorder::open(folder.path(), config).unwrap();
    let problem = recorder.record(&teacher(&server.config()), &rows, 2);
    let problem = problem.unwrap_err().to_string();
    assert!(problem.contains("record at 1"), "{problem}");
    assert_eq!(recorder.rows(), 0);
}

#[test]
fn what_passes_is_asked_again() {
    let fates = [
        Fate::HungUp,
        Fate::Refused(503, "loading"),
        Fate::Answered,
        Fate::BrokenOff,
        Fate::Refused(429, ""),
        Fate::Answered,
        Fate::BrokenOff,
    ];
    let (server, rows) = (Server::new(&fates), rows());
    let (through, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    record(&server, through.path(), &rows).unwrap();
    assert_eq!(server.asked(), rows.len().div_ceil(2) + 5);
    record(&Server::new(&[]), without.path(), &rows).unwrap();
    let shard = |folder: &Path| std::fs::read(folder.join("shard-00000.safetensors")).unwrap();
    assert!(shard(through.path()) == shard(without.path()));
}

#[test]
fn a_recording_goes_on_when_the_server_is_back() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows());
    let half = rows.len() / 2 / 2 * 2;
    let mut recorder = Recorder::open(folder.path(), config(&rows)).unwrap();
    let fates: Vec<Fate> = std::iter::repeat_n(Fate::Answered, half / 2)
        .chain([
            Fate::Refused(500, "out of memory"),
            Fate::HungUp,
            Fate::BrokenOff,
        ])
        .collect();
    let server = Server::new(&fates);
    let teacher = teacher(&server.config());
    let problem = recorder.record(&teacher, &rows, 2).unwrap_err();
    assert!(problem.to_string().contains("in 3 attempts"), "{problem}");
    // What was recorded is there, and ends a shard.
    assert_eq!(recorder.rows(), half as u64);
    drop(recorder);
    let asked = server.asked();
    record(&server, folder.path(), &rows).unwrap();
    assert_eq!(server.asked() - asked, (rows.len() - half).div_ceil(2));
    let provenance = config(&rows).provenance;
    let recording = Recording::open(folder.path(), &provenance, &Device::flex()).unwrap();
    compare(&recording, &all(&rows));
}

/// Why a server does not answer a batch.
fn problem(teacher: &ServerTeacher) -> ServerError {
    let batch = TokenBatch::new(vec![5, 35, 2], [1, 3]).unwrap();
    match teacher.answer(&batch, &Taps::none()).unwrap_err() {
        ForwardError::Elsewhere(problem) => *problem.downcast().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn what_does_not_pass_is_an_error_at_once() {
    type Is = fn(&ServerError) -> bool;
    let vllm = r#"{ "error": { "message": "no such model", "code": 404 } }"#;
    let old = r#"{ "object": "error", "message": "exceeds max_logprobs", "code": 400 }"#;
    let cases: [(Fate, Is, &str); 4] = [
        (
            Fate::Refused(401, r#"{ "error": "Unauthorized" }"#),
            |e| matches!(e, ServerError::Token { status: 401, .. }),
            "--api-key",
        ),
        (
            Fate::Refused(404, vllm),
            |e| matches!(e, ServerError::NotFound { .. }),
            "404 for the model `formula`: no such model",
        ),
        (
            Fate::Refused(400, old),
            |e| matches!(e, ServerError::Refused { status: 400, .. }),
            "400: exceeds max_logprobs: it may allow fewer `k`",
        ),
        (
            Fate::Refused(302, ""),
            |e| matches!(e, ServerError::Refused { status: 302, .. }),
            "302",
        ),
    ];
    for (fate, is, says) in cases {
        let server = Server::new(&[fate]);
        let asked = teacher(&server.config());
        let problem = problem(&asked);
        assert!(
            is(&problem) && problem.to_string().contains(says),
            "{problem}"
        );
        assert!(!format!("{asked:?} {problem:?}").contains(TOKEN));
        assert_eq!(server.asked(), 1);
    }
}

#[test]
fn answers_that_are_not_to_the_question() {
    let of = |logprobs: Value| json!({ "choices": [{ "index": 0, "prompt_logprobs": logprobs }] });
    let entry = |id: &str| json!({ id: { "logprob": -0.5, "rank": 1 } });
    let entries = |ids: std::ops::Range<u32>| -> Value {
        ids.map(|id| (id.to_string(), json!({ "logprob": -3.0 })))
            .collect()
    };
    for (answer, says) in [
        (json!("hello"), "invalid type"),
        (json!({ "choices": [] }), "the choices [], expected 0 to 0"),
        (json!({ "choices": [{ "index": 1 }] }), "the choices [1]"),
        (of(Value::Null), "no `prompt_logprobs`"),
        (
            of(json!([null, entry("35")])),
            "prompt 0: 2 `prompt_logprobs` for a prompt of 3",
        ),
        (of(json!([null, null, entry("2")])), "token 1: null"),
        (
            of(json!([null, entry("35"), entry("3")])),
            "token 2: no entry for 2",
        ),
        (
            of(json!([null, entry("35"), entries(2..9)])),
            "prompt 0: 7 ids for a token, of which 4",
        ),
        (json!({ "choices": "x".repeat(2 << 20) }), "more than the "),
    ] {
        let server = Server::new(&[Fate::Other(answer)]);
        let problem = problem(&teacher(&server.config()));
        assert!(matches!(problem, ServerError::Answer { .. }), "{problem}");
        assert!(problem.to_string().contains(says), "{says}: {problem}");
        assert_eq!(server.asked(), 1);
    }
    let server = Server::new(&[]);
    let small = ModelShape {
        vocabulary: 36,
        ..shape()
    };
    let teacher = server.config().teacher(None, small, &Device::flex());
    let problem = problem(&teacher.unwrap());
    assert!(
        matches!(
            problem,
            ServerError::Vocabulary {
                id: 37,
                vocabulary: 36,
                ..
            }
        ),
        "{problem}"
    );
}

#[test]
fn nobody_there_and_trouble_that_stays() {
    let gone = Server::new(&[]).config();
    let problem_of = |config: &ServerConfig| problem(&teacher(config));
    let unheard = problem_of(&gone);
    assert!(
        matches!(unheard, ServerError::NoAnswer { attempts: 3, .. }),
        "{unheard}"
    );
    assert!(unheard.to_string().contains("refused"), "{unheard}");
    let server = Server::new(&vec![Fate::Refused(500, "out of memory"); 3]);
    let failing = problem_of(&server.config());
    assert!(
        matches!(
            failing,
            ServerError::Failing {
                status: 500,
                attempts: 3,
                ..
            }
        ),
        "{failing}"
    );
    assert!(
        failing.to_string().contains("3 attempts: out of memory"),
        "{failing}"
    );
    assert_eq!(server.asked(), 3);
}

#[test]
fn what_a_server_can_not_be_asked() {
    let server = Server::new(&[]);
    let asked = teacher(&server.config());
    let batch = TokenBatch::new(vec![5, 6], [1, 2]).unwrap();
    let deep = ModelShape {
        layers: 3,
        ..shape()
    };
    let deep = server
        .config()
        .teacher(None, deep, &Device::flex())
        .unwrap();
    let taps = Taps::none().with(1, Feature::Hidden);
    let problem = deep.answer(&batch, &taps).unwrap_err();
    assert!(matches!(problem, ForwardError::NotRevealed(_)), "{problem}");
    let beyond = TokenBatch::new(vec![5, VOCABULARY], [1, 2]).unwrap();
    let problem = asked.answer(&beyond, &Taps::none()).unwrap_err();
    assert!(
        matches!(problem, ForwardError::UnknownId { .. }),
        "{problem}"
    );
    assert_eq!(server.asked(), 0);
    type Change = fn(&mut ServerConfig);
    let changes: [(&str, Change); 7] = [
        ("address", |config| {
            config.address = "localhost:8000".to_owned()
        }),
        ("address", |config| {
            config.address = "ftp://localhost".to_owned()
        }),
        ("k", |config| config.k = 0),
        ("k", |config| config.k = usize::MAX),
        ("attempts", |config| config.attempts = 0),
        ("wait", |config| config.wait = -1.0),
        ("timeout", |config| config.timeout = f64::NAN),
    ];
    for (field, change) in changes {
        let mut config = server.config();
        change(&mut config);
        let problem = config.teacher(None, shape(), &Device::flex()).unwrap_err();
        assert!(
            problem.to_string().starts_with(&format!("`{field}`: got ")),
            "{problem}"
        );
    }
    let problem = server
        .config()
        .teacher(Some("two\nlines"), shape(), &Device::flex());
    assert!(problem.unwrap_err().to_string().starts_with("`token`"));
}
