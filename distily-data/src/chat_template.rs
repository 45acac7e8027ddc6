use crate::{ContentHash, DataError};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind, State, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A turn of a role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// How a model's conversations are written as one text: the Jinja template of a Hugging Face folder.
///
/// The text holds the special tokens, so it is encoded without adding any
/// ([`TextTokenizer::encode`](crate::TextTokenizer::encode)).
///
/// ```
/// use distily_data::{ChatTemplate, Message};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # std::fs::write(folder.join("chat_template.jinja"), "{% for m in messages %}<{{ m.role }}>{{ m.content }}\
/// #     {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")?;
/// let template = ChatTemplate::load(folder)?;
/// let text = template.render(&[Message::new("user", "Hello!")], true)?;
/// assert_eq!(text, "<user>Hello!<assistant>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A template is given what transformers gives it but `strftime_now`, so that what is trained on
/// does not depend on the day: a date is set as a [variable](Self::with).
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    file: PathBuf,
    environment: Environment<'static>,
    source: String,
    variables: BTreeMap<String, Value>,
}

/// A special token of `tokenizer_config.json`: its text, or an object around it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Added { content: String },
}

/// `chat_template` of `tokenizer_config.json`: a template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Default, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    pad_token: Option<Token>,
    unk_token: Option<Token>,
}

impl ChatTemplate {
    /// Reads the template of a folder: `chat_template.jinja`, or `chat_template` in
    /// `tokenizer_config.json`, of several the one named `default`.
    ///
    /// # Errors
    ///
    /// [`DataError::ChatTemplate`], [`DataError::Io`].
    pub fn load(folder: &Path) -> Result<Self, DataError> {
        let config_file = folder.join("tokenizer_config.json");
        let config = match read(&config_file)? {
            None => TokenizerConfig::default(),
            Some(text) => serde_json::from_str(&text)
                .map_err(|problem| error(&config_file, problem.to_string()))?,
        };
        let file = folder.join("chat_template.jinja");
        let (file, template) = match (read(&file)?, config.chat_template) {
            (Some(template), _) => (file, template),
            (None, Some(Templates::One(template))) => (config_file, template),
            (None, Some(Templates::Named(templates))) => {
                let default = templates
                    .into_iter()
                    .find(|template| template.name == "default");
                match default {
                    Some(default) => (config_file, default.template),
                    None => {
                        let problem = "of several chat templates none is named `default`";
                        return Err(error(&config_file, problem.to_owned()));
                    }
                }
            }
            (None, None) => {
                let problem = "no chat template, neither in chat_template.jinja nor in tokenizer_config.json: put the chat_template.jinja of a model with the same special tokens there";
                return Err(error(folder, problem.to_owned()));
            }
        };
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(|problem| error(&file, described(&problem)))?,
        );
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |message: String| {
            Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function(GENERATION, marked);
        environment
            .add_template_owned("chat", with_calls(&template))
            .map_err(|problem| error(&file, described(&problem)))?;
        let tokens = [
            ("bos_token", config.bos_token),
            ("eos_token", config.eos_token),
            ("pad_token", config.pad_token),
            ("unk_token", config.unk_token),
        ];
        let variables = tokens
            .into_iter()
            .filter_map(|(name, token)| {
                let text = match token? {
                    Token::Text(text) | Token::Added { content: text } => text,
                };
                Some((name.to_owned(), text.into()))
            })
            .collect();
        Ok(Self {
            file,
            environment,
            source: template,
            variables,
        })
    }

    /// What the template is: the hash of its text and its variables.
    pub fn hash(&self) -> ContentHash {
        let variables = self
            .variables
            .iter()
            .flat_map(|(name, value)| [name.clone(), format!("{value:?}")]);
        ContentHash::of(
            "chat template",
            [self.source.clone()].into_iter().chain(variables),
        )
    }

    /// This template with a variable that it knows, such as `enable_thinking` or `date_string`.
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.variables
            .insert(name.into(), Value::from(Serde(value)));
        self
    }

    /// A conversation as text; with `add_generation_prompt` it ends where the assistant's next turn
    /// begins.
    ///
    /// # Errors
    ///
    /// [`DataError::ChatTemplate`] with what the template says of a conversation that it refuses.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        let given = context! { messages => Value::from(Serde(messages)), add_generation_prompt };
        let variables = context! { ..given, ..Value::from(Serde(&self.variables)) };
        self.environment
            .get_template("chat")
            .and_then(|template| template.render(variables))
            .map_err(|problem| error(&self.file, described(&problem)))
    }
}

impl ChatTemplate {
    /// A conversation as text, and the bytes of it that are the assistant's turns: what a model has
    /// to write when it is asked for them, the mark of the end included.
    ///
    /// Where the template says it itself (`{% generation %}`, as transformers reads it), that is
    /// what they are. Otherwise they are found by writing the conversation turn by turn: a turn is
    /// what is added to the text that asks for it.
    ///
    /// # Errors
    ///
    /// [`DataError::ChatTemplate`] where a turn is written in another way when others follow it, and
    /// the template has no marks.
    pub fn assistant_turns(
        &self,
        messages: &[Message],
    ) -> Result<(String, Vec<Range<usize>>), DataError> {
        let text = self.render(messages, false)?;
        let marked = self.marked_turns(messages)?;
        if !marked.is_empty() {
            return Ok((text, marked));
        }
        let mut turns = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            if message.role == "assistant" {
                let asked = self.render(&messages[..at], true)?;
                let answered = self.render(&messages[..=at], false)?;
                if !(answered.starts_with(&asked) && text.starts_with(&answered)) {
                    let problem = format!(
                        "message {at} (from 0) is written in another way when others follow it, so that the assistant's turns can't be told: put them between {{% generation %}} and {{% endgeneration %}} in the template"
                    );
                    return Err(error(&self.file, problem));
                }
                turns.push(asked.len()..answered.len());
            }
        }
        Ok((text, turns))
    }

    /// The bytes between the template's own marks.
    fn marked_turns(&self, messages: &[Message]) -> Result<Vec<Range<usize>>, DataError> {
        if !self.source.contains("endgeneration") {
            return Ok(Vec::new());
        }
        // Of the characters that are none (Unicode's noncharacters), one that nobody wrote.
        let unused = |mark: &char| {
            messages
                .iter()
                .all(|message| !message.content.contains(*mark))
        };
        let Some(mark) = ('\u{fdd0}'..='\u{fdef}').find(unused) else {
            let problem = "a message has all characters from U+FDD0 to U+FDEF, which are none";
            return Err(error(&self.file, problem.to_owned()));
        };
        let text = self.clone().with(MARK, mark).render(messages, false)?;
        let (mut turns, mut end) = (Vec::new(), 0);
        for (part, text) in text.split(mark).enumerate() {
            let start = end;
            end += text.len();
            if part % 2 == 1 {
                turns.push(start..end);
            }
        }
        Ok(turns)
    }
}

/// What writing a conversation may cost, in instructions and in pieces of 64 bytes: more than one of
/// 10,000 messages does, and not for ever.
const FUEL: u64 = 5_000_000;

/// What a template's `{% generation %}` calls, and the variable with what it puts around its content.
const GENERATION: &str = "distily_generation";
const MARK: &str = "distily_generation_mark";

/// A template in which `{% generation %}` and its end are a call of [`marked`], as they are in
/// transformers: minijinja takes no new tags.
fn with_calls(template: &str) -> String {
    let tag = |name: &str| {
        let pattern = format!(r"\{{%([-+]?)\s*{name}\s*([-+]?)%\}}");
        Regex::new(&pattern).expect("a valid pattern")
    };
    let begin = format!("{{%$1 call {GENERATION}() $2%}}");
    let template = tag("generation").replace_all(template, begin);
    tag("endgeneration")
        .replace_all(&template, "{%$1 endcall $2%}")
        .into_owned()
}

/// The content of a block, between two marks if there is one.
fn marked(state: &mut State, block: Kwargs) -> Result<String, minijinja::Error> {
    let content = block.get::<Value>("caller")?.call(state, &[])?;
    let mark = state.lookup(MARK).unwrap_or_default();
    Ok(match mark.as_str() {
        Some(mark) => format!("{mark}{content}{mark}"),
        None => content.to_string(),
    })
}

fn error(file: &Path, problem: String) -> DataError {
    DataError::ChatTemplate {
        file: file.to_owned(),
        problem,
    }
}

/// A Jinja error with the line it is at.
fn described(problem: &minijinja::Error) -> String {
    match problem.line() {
        Some(line) => format!("the chat template, line {line}: {problem}"),
        None => format!("the chat template: {problem}"),
    }
}

/// A file's text; `None` if there is no such file.
fn read(file: &Path) -> Result<Option<String>, DataError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Io {
            file: file.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn conversation() -> Vec<Message> {
        vec![
            Message::new("system", "  Be brief. "),
            Message::new("user", "1 < 2?"),
            Message::new("assistant", "Yes."),
        ]
    }

    /// What templates in the wild use: Python's methods, slices, namespaces, loop variables, filters,
    /// macros, and blocks on lines of their own.
    const TEMPLATE: &str = r#"{%- macro turn(role, text) -%}
[{{ role|upper }}]{{ text }}{{ eos_token }}
{% endmacro -%}
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set ns = namespace(system=messages[0]['content'].strip()) %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set ns = namespace(system='') %}
    {%- set rest = messages %}
{%- endif %}
{% for message in rest %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate, got ' + message.role) }}
    {% endif %}
    {% if loop.first and ns.system %}
{{ turn('system', ns.system) }}
    {%- endif %}
{{ turn(message.role, message.content | trim) }}
{%- endfor %}
{% if add_generation_prompt and not quiet is defined %}
[ASSISTANT]
{%- endif %}"#;

    #[test]
    fn a_conversation_as_jinja2_writes_it() {
        let config =
            r#"{ "bos_token": { "content": "<s>", "special": true }, "eos_token": "</s>" }"#;
        let folder = folder(&[
            ("tokenizer_config.json", config),
            ("chat_template.jinja", TEMPLATE),
        ]);
        let template = ChatTemplate::load(folder.path()).unwrap();
        // By jinja2 3.1 with trim_blocks and lstrip_blocks.
        let expected = "<s>[SYSTEM]Be brief.</s>\n[USER]1 < 2?</s>\n[ASSISTANT]Yes.</s>\n";
        assert_eq!(template.render(&conversation(), false).unwrap(), expected);
        let asked = template.render(&conversation()[..2], true).unwrap();
        assert_eq!(
            asked,
            "<s>[SYSTEM]Be brief.</s>\n[USER]1 < 2?</s>\n[ASSISTANT]"
        );
        let quiet = template.clone().with("quiet", true);
        let asked = quiet.render(&conversation()[1..2], true).unwrap();
        assert_eq!(asked, "<s>[USER]1 < 2?</s>\n");
        let refused = template.render(&conversation()[2..], false).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("roles must alternate, got assistant"),
            "{refused}"
        );
    }

    #[test]
    fn a_template_without_an_end_is_an_error_and_a_long_conversation_is_not() {
        let of = |template: &str| {
            let folder = folder(&[("chat_template.jinja", template)]);
            ChatTemplate::load(folder.path()).unwrap()
        };
        let said = |role| Message::new(role, "word ".repeat(200));
        let turns = ["user", "assistant"].into_iter().cycle();
        let long: Vec<Message> = turns.take(10_000).map(said).collect();
        let text = of(TEMPLATE).render(&long, false).unwrap();
        assert!(text.len() > 10_000_000);
        for hostile in [
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "{% set a = 'a' * 99999999 %}{% set b = a ~ a ~ a ~ a ~ a ~ a %}",
        ] {
            let error = of(hostile).render(&conversation(), false).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("fuel"), "{error}");
        }
    }

    #[test]
    fn the_template_is_found_where_it_is() {
        let render = |files: &[(&str, &str)]| {
            let folder = folder(files);
            ChatTemplate::load(folder.path())?.render(&conversation()[1..2], false)
        };
        let one = r#"{ "chat_template": "one {{ messages|length }}" }"#;
        assert_eq!(render(&[("tokenizer_config.json", one)]).unwrap(), "one 1");
        let several = r#"{ "chat_template": [ { "name": "tool_use", "template": "no" },
            { "name": "default", "template": "yes" } ] }"#;
        assert_eq!(
            render(&[("tokenizer_config.json", several)]).unwrap(),
            "yes"
        );
        let error = |files: &[(&str, &str)]| render(files).unwrap_err().to_string();
        assert!(error(&[]).contains("put the chat_template.jinja of a model"));
        let broken = error(&[("chat_template.jinja", "\n{% for %}")]);
        assert!(broken.contains("line 2"), "{broken}");
        assert!(error(&[("tokenizer_config.json", "{")]).contains("tokenizer_config.json"));
    }

    fn template(text: &str) -> ChatTemplate {
        ChatTemplate::load(folder(&[("chat_template.jinja", text)]).path()).unwrap()
    }

    /// The assistant's turns of a conversation of several.
    fn turns(template: &ChatTemplate) -> Result<Vec<String>, DataError> {
        let mut messages = conversation();
        messages.push(Message::new("user", "Are you sure?"));
        messages.push(Message::new("assistant", " No. "));
        let (text, turns) = template.assistant_turns(&messages)?;
        assert_eq!(text, template.render(&messages, false)?);
        Ok(turns
            .into_iter()
            .map(|turn| text[turn].to_owned())
            .collect())
    }

    #[test]
    fn a_turn_is_what_is_added_to_the_question() {
        let chat_ml = "{% for m in messages %}<{{ m.role }}>\n{{ m.content | trim }}<end>\n{% endfor %}\
            {% if add_generation_prompt %}<assistant>\n{% endif %}";
        assert_eq!(
            turns(&template(chat_ml)).unwrap(),
            ["Yes.<end>\n", "No.<end>\n"]
        );
        // Mistral's kind, which has nothing to ask with.
        let bare = "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}</s>{% else %}\
            [INST]{{ m.content }}[/INST]{% endif %}{% endfor %}";
        assert_eq!(turns(&template(bare)).unwrap(), ["Yes.</s>", " No. </s>"]);
    }

    /// It leaves out what was thought in earlier turns.
    const FORGETFUL: &str = "{% for m in messages %}{% if m.role == 'assistant' %}<assistant>\
        {% generation %}{% if loop.last %}<think>{% endif %}{{ m.content }}<end>{%- endgeneration +%}\n\n\
        {% else %}<user>{{ m.content }}<end>{% endif %}{% endfor %}\
        {% if add_generation_prompt %}<assistant>{% endif %}";

    #[test]
    fn a_template_may_mark_the_turns_itself() {
        let marked = template(FORGETFUL);
        assert_eq!(turns(&marked).unwrap(), ["Yes.<end>", "<think> No. <end>"]);
        let mut messages = conversation();
        messages[1].content = "\u{fdd0}".to_owned();
        let (text, turns) = marked.assistant_turns(&messages).unwrap();
        assert!(text.contains("<user>\u{fdd0}<end>"));
        assert_eq!(&text[turns[0].clone()], "<think>Yes.<end>");
    }

    #[test]
    fn turns_that_can_not_be_told_are_an_error() {
        let tag = Regex::new(r"\{%-? (end)?generation \+?%\}").unwrap();
        let unmarked = template(&tag.replace_all(FORGETFUL, ""));
        let problem = turns(&unmarked).unwrap_err().to_string();
        assert!(problem.contains("message 2 (from 0)"), "{problem}");
        assert!(problem.contains("{% generation %}"), "{problem}");
    }
}
