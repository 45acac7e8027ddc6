use crate::download::Failure;
use crate::{Hub, HubError, RepoId, RepoKind};
use hf_hub::HFError;
use std::error::Error;

/// What an error of hf-hub's means for someone who asked for a repository.
pub(crate) fn failure(error: HFError, hub: &Hub, kind: RepoKind, repo: &RepoId) -> Failure {
    let endpoint = hub.endpoint.clone();
    let answer = match error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::RateLimited { context, .. }
        | HFError::RepoNotFound {
            context: Some(context),
            ..
        }
        | HFError::RevisionNotFound {
            context: Some(context),
            ..
        }
        | HFError::EntryNotFound {
            context: Some(context),
            ..
        } => Answer {
            status: context.status.as_u16(),
            code: context.error_code.unwrap_or_default(),
            said: short(&context.server_message.unwrap_or_default()),
        },
        // A connection that failed, or something in between that answers in the hub's place.
        HFError::Request { source, .. } => return Failure::NoAnswer(short(&root(&source))),
        HFError::Xet { source, operation } => {
            return Failure::NoAnswer(format!("{operation}: {}", short(&root(&*source))));
        }
        HFError::Io(source) => return HubError::io(&hub.cache)(source).into(),
        HFError::CacheLockTimeout { path } => return HubError::Busy { lock: path }.into(),
        other => {
            let problem = short(&other.to_string());
            return HubError::Answer { endpoint, problem }.into();
        }
    };
    answer.failure(endpoint, kind, repo)
}

struct Answer {
    status: u16,
    code: String,
    said: String,
}

impl Answer {
    fn failure(self, endpoint: String, kind: RepoKind, repo: &RepoId) -> Failure {
        let Self { status, code, said } = self;
        let (id, revision) = (repo.id(), repo.revision());
        let private = "check the name; and if it is private, set HF_TOKEN or run `hf auth login`";
        let (what, advice) = match (status, code.as_str()) {
            // Who shows no token is told 401 for what isn't there.
            (401 | 404, "RepoNotFound") => (format!("{kind} `{id}`"), private),
            (404, "RevisionNotFound") => (
                format!("revision `{revision}` of the {kind} `{id}`"),
                "name a branch, a tag or a whole commit",
            ),
            (404, _) => (
                format!("{kind} `{id}`, or no revision `{revision}` of it"),
                private,
            ),
            (401 | 403, _) => {
                let page = repo.page(kind, &endpoint);
                let said = if said.is_empty() {
                    said
                } else {
                    format!(" ({said})")
                };
                return HubError::Token { page, status, said }.into();
            }
            (408 | 429 | 500.., _) => {
                return Failure::NoAnswer(format!("it answers {status} {said}").trim().to_owned());
            }
            _ => {
                let problem = format!("got {status} {said} for the {kind} `{id}`");
                return HubError::Answer { endpoint, problem }.into();
            }
        };
        let advice = advice.to_owned();
        HubError::NotFound {
            endpoint,
            what,
            advice,
        }
        .into()
    }
}

/// The cause of the cause of …: "Connection refused" rather than "error sending request".
fn root(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What someone else wrote, for a line of ours.
fn short(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.take(300).collect::<String>().trim().to_owned()
}
