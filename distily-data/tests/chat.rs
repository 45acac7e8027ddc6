//! Conversations against transformers' `apply_chat_template`: text, ids, and which tokens are the
//! assistant's.
#![allow(clippy::unwrap_used)]

use distily_data::{
    ChatTemplate, Document, DocumentEncoder, Message, Packing, TextTokenizer, TokenRows,
};
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Golden {
    template: String,
    messages: Vec<Message>,
    text: String,
    ids: Vec<u32>,
    assistant: Vec<u32>,
}

/// The ids of a conversation, and which of them are predicted and count.
fn encoded(template: &str, golden: &Golden) -> (String, Vec<u32>, Vec<u32>) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = r#"{ "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>" }"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), tokens).unwrap();
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let template = ChatTemplate::load(folder.path()).unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let tokenizer = examples.join("quickstart/teacher/tokenizer.json");
    let encoder = DocumentEncoder {
        chat_template: Some(template.clone()),
        ..DocumentEncoder::new(TextTokenizer::load(&tokenizer).unwrap())
    };
    let conversation = [Document::Chat(golden.messages.clone())];
    let tokens = encoder.tokens(conversation.as_slice()).unwrap();
    let length = tokens.len() as usize;
    let rows = TokenRows::pack(tokens, Packing::Padded, length).unwrap();
    let batch = rows.in_order(1).next().unwrap().unwrap();
    (
        template.render(&golden.messages, false).unwrap(),
        batch.id_rows().next().unwrap().to_vec(),
        batch.prediction_mask().into_iter().map(u32::from).collect(),
    )
}

#[test]
fn conversations_are_those_of_transformers() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/chat.json")).unwrap();
    assert!(golden.iter().any(|golden| golden.assistant.contains(&1)));
    for golden in golden {
        let (text, ids, mask) = encoded(&golden.template, &golden);
        assert_eq!(text, golden.text);
        assert_eq!(ids, golden.ids);
        // What is predicted at a token is the next one.
        let (last, mask) = mask.split_last().unwrap();
        assert_eq!((*last, mask), (0, &golden.assistant[1..]), "{text:?}");
        // Without its marks, the turns are found by writing the conversation turn by turn.
        let unmarked = ["generation", "endgeneration"]
            .iter()
            .fold(golden.template.clone(), |template, tag| {
                template.replace(&format!("{{%- {tag} %}}"), "")
            });
        if unmarked != golden.template {
            let (text, ids, mask) = encoded(&unmarked, &golden);
            assert_eq!((text, ids), (golden.text, golden.ids));
            assert_eq!(mask[..mask.len() - 1], golden.assistant[1..]);
        }
    }
}
