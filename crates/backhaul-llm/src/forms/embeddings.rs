//! Embeddings as numbers or as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::conversation::invalid;
use crate::error::{LlmError, LlmErrorKind};

/// How an answer of `POST /v1/embeddings` has its vectors. OpenAI's clients ask for base64
/// unless their caller says otherwise, and not all of them read numbers then.
///
/// ```
/// use backhaul_llm::EmbeddingEncoding;
/// use serde_json::json;
/// let request = json!({ "input": "warm", "encoding_format": "base64" });
/// let answer = json!({ "data": [{ "index": 0, "embedding": [0.5, -2.0] }] });
/// let encoding = EmbeddingEncoding::of_request(&request).unwrap();
/// let encoded = encoding.encode(answer.clone()).unwrap();
/// assert_eq!(encoded["data"][0]["embedding"], "AAAAPwAAAMA=");
/// assert_eq!(EmbeddingEncoding::Float.encode(encoded).unwrap(), answer);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EmbeddingEncoding {
    /// A list of numbers.
    #[default]
    Float,
    /// 32-bit floats one after the other, the lowest byte first, in base64.
    Base64,
}

impl EmbeddingEncoding {
    /// The one that a request asks for. Default: numbers.
    ///
    /// # Errors
    /// [`LlmErrorKind::Invalid`] where its `encoding_format` is none of them.
    pub fn of_request(request: &Value) -> Result<Self, LlmError> {
        match request.get("encoding_format") {
            None | Some(Value::Null) => Ok(EmbeddingEncoding::Float),
            Some(Value::String(name)) if name == "float" => Ok(EmbeddingEncoding::Float),
            Some(Value::String(name)) if name == "base64" => Ok(EmbeddingEncoding::Base64),
            Some(other) => Err(invalid(format!(
                "encoding_format is {other}: expected \"float\" or \"base64\""
            ))),
        }
    }

    /// An answer with its vectors in this encoding, whichever the server gave them in.
    ///
    /// # Errors
    /// [`LlmErrorKind::Garbled`] where a vector is neither numbers nor base64 of 32-bit floats.
    pub fn encode(self, mut answer: Value) -> Result<Value, LlmError> {
        let items = answer.get_mut("data").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            let Some(vector) = item.get_mut("embedding") else { return Err(garbled()) };
            *vector = match self {
                EmbeddingEncoding::Float => to_numbers(vector.take())?,
                EmbeddingEncoding::Base64 => to_base64(vector.take())?,
            };
        }
        Ok(answer)
    }
}

fn to_base64(vector: Value) -> Result<Value, LlmError> {
    let Value::Array(numbers) = vector else { return to_numbers(vector).and_then(to_base64) };
    let mut bytes = Vec::with_capacity(numbers.len() * size_of::<f32>());
    for number in numbers {
        let Value::Number(number) = number else { return Err(garbled()) };
        // From its digits: by way of a larger float it would be rounded twice.
        let number = number.to_string().parse::<f32>().ok().filter(|it| it.is_finite());
        bytes.extend(number.ok_or_else(garbled)?.to_le_bytes());
    }
    Ok(STANDARD.encode(bytes).into())
}

fn to_numbers(vector: Value) -> Result<Value, LlmError> {
    let text = match vector {
        Value::Array(_) => return Ok(vector),
        Value::String(text) => text,
        _ => return Err(garbled()),
    };
    let bytes = STANDARD.decode(text).map_err(|_| garbled())?;
    let (floats, []) = bytes.as_chunks() else { return Err(garbled()) };
    let numbers = floats.iter().map(|bytes| {
        let float = f32::from_le_bytes(*bytes);
        // As few digits as tell it from its neighbours.
        float.is_finite().then(|| Value::from(float)).ok_or_else(garbled)
    });
    numbers.collect()
}

fn garbled() -> LlmError {
    let message = "an embedding is neither a list of numbers nor 32-bit floats in base64";
    LlmError::new(LlmErrorKind::Garbled, message)
}
