use std::fs;
use std::path::Path;

use backhaul_llm::{LlamaCppClient, LlamaCppOptions, LlmClient as _, LlmError, LlmErrorKind};
use backhaul_testkit::{LOCAL_TEXT, TinyModel};
use tempfile::TempDir;

use super::question;

fn model() -> Vec<u8> {
    fs::read(TinyModel::chain().file().unwrap()).unwrap()
}

/// The same bytes but for a text in them.
fn with(model: &[u8], text: &str, other: &str) -> Vec<u8> {
    assert_eq!(text.len(), other.len());
    let at = model.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap();
    let mut changed = model.to_vec();
    changed[at..at + text.len()].copy_from_slice(other.as_bytes());
    changed
}

fn refused(path: &Path) -> LlmError {
    let error = LlamaCppClient::open(path, LlamaCppOptions::default()).unwrap_err();
    let named = format!("the model {} ", path.display());
    assert!(error.message().starts_with(&named), "{error}");
    error
}

/// The error of a file of these bytes, which has to say so.
fn refused_bytes(bytes: &[u8], says: &str) -> LlmError {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    let error = refused(&path);
    assert!(error.message().contains(says), "{error}");
    error
}

#[test]
fn a_model_that_is_not_there_and_a_folder_are_named() {
    let folder = TempDir::new().unwrap();
    let missing = refused(&folder.path().join("missing.gguf"));
    assert_eq!(missing.kind(), LlmErrorKind::NotFound);
    assert!(missing.message().ends_with("is not there: expected the path of a GGUF file"));
    let folder = refused(folder.path());
    assert_eq!(folder.kind(), LlmErrorKind::Engine);
    assert!(folder.message().ends_with("is no file: expected the path of a GGUF file"));
}

#[test]
fn files_of_other_formats_are_told_from_damaged_ones() {
    refused_bytes(b"PK\x03\x04 and so on", r#"it begins with "PK\x03\x04", expected "GGUF""#);
    refused_bytes(b"<!doctype html>", r#"it begins with "<!do", expected "GGUF""#);
    refused_bytes(b"", "is cut off, or damaged: it has 0 bytes, expected at least 4;");
    let mut old = model();
    old[4] = 1;
    refused_bytes(&old, "is a GGUF file of version 1, expected 2 or 3");
}

#[test]
fn a_model_that_is_cut_off_anywhere_is_refused() {
    let model = model();
    let cuts = (0..model.len()).step_by(7_919).chain([model.len() - 1]);
    for len in cuts {
        let error = refused_bytes(&model[..len], "");
        assert_eq!(error.kind(), LlmErrorKind::Engine);
        // The length is known from the header; that of the last tensor to llama.cpp alone.
        let says = ["is cut off", "not within the file bounds"];
        assert!(says.iter().any(|it| error.message().contains(it)), "at {len}: {error}");
    }
}

#[test]
fn a_header_of_garbage_is_refused() {
    let model = model();
    // The number of tensors, of values, and the length of the first key; up to 2^63.
    for at in [8, 16, 24] {
        for byte in 0..8 {
            let mut garbage = model.clone();
            garbage[at + byte] ^= 0x80;
            refused_bytes(&garbage, "");
        }
    }
    let key = b"general.architecture".len();
    let mut garbage = model;
    // The type of the first value.
    garbage[32 + key] = 77;
    refused_bytes(&garbage, "is damaged (a value of type 77): copy or download it again");
}

#[test]
fn an_architecture_that_llama_cpp_does_not_know_is_named() {
    let key = "general.architecture\u{8}\0\0\0\u{5}\0\0\0\0\0\0\0";
    let strange = with(&model(), &format!("{key}llama"), &format!("{key}lemma"));
    refused_bytes(&strange, "of architecture lemma cannot be loaded by this version of llama.cpp");
}

#[tokio::test]
async fn a_model_without_a_template_takes_one_that_is_given() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bare.gguf");
    let bare = with(&model(), "tokenizer.chat_template", "tokenizer.chat_templatx");
    fs::write(&path, bare).unwrap();
    assert!(refused(&path).message().contains("has no chat template: expected a model"));
    let given = |template: &str| {
        let chat_template = Some(template.to_owned());
        LlamaCppClient::open(&path, LlamaCppOptions { chat_template, ..Default::default() })
    };
    let client = given("chatml").unwrap();
    assert_eq!(client.complete(&question("?")).await.unwrap().content(), LOCAL_TEXT);
    let error = given("{{ messages | nobody_knows }}").unwrap_err();
    assert!(error.message().contains("llama.cpp does not recognise"), "{error}");
}
